"""Addresses of the portal's pages about agents."""

from django.urls import path

from . import views

urlpatterns = [
    path("agent/download", views.agent_download, name="agent-download"),
    path("agents", views.agent_list, name="agent-list"),
    path("agents/add", views.agent_add, name="agent-add"),
    path("agents/<uuid:public_id>", views.agent_detail, name="agent-detail"),
    path("agents/<uuid:public_id>/code", views.agent_code, name="agent-code"),
    path("agents/<uuid:public_id>/rotate", views.agent_rotate, name="agent-rotate"),
    path("agents/<uuid:public_id>/drain", views.agent_drain, name="agent-drain"),
    path("agents/<uuid:public_id>/retire", views.agent_retire, name="agent-retire"),
]
