"""Addresses of the portal's pages about agents."""

from django.urls import path

from .views import agents, pools

urlpatterns = [
    path("agent/download", agents.agent_download, name="agent-download"),
    path("agents", agents.agent_list, name="agent-list"),
    path("agents/add", agents.agent_add, name="agent-add"),
    path("agents/pools", pools.pool_list, name="pool-list"),
    path("agents/pools/add", pools.pool_add, name="pool-add"),
    path("agents/pools/<uuid:public_id>", pools.pool_edit, name="pool-edit"),
    path("agents/pools/<uuid:public_id>/archive", pools.pool_archive, name="pool-archive"),
    path("agents/<uuid:public_id>", agents.agent_detail, name="agent-detail"),
    path("agents/<uuid:public_id>/code", agents.agent_code, name="agent-code"),
    path("agents/<uuid:public_id>/rotate", agents.agent_rotate, name="agent-rotate"),
    path("agents/<uuid:public_id>/drain", agents.agent_drain, name="agent-drain"),
    path("agents/<uuid:public_id>/pause", agents.agent_pause, name="agent-pause"),
    path("agents/<uuid:public_id>/resume", agents.agent_resume, name="agent-resume"),
    path("agents/<uuid:public_id>/retire", agents.agent_retire, name="agent-retire"),
]
