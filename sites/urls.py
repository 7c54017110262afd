"""Addresses of the portal's pages about places and people, and of what stands around every page."""

from django.urls import path

from . import views
from .views import members

urlpatterns = [
    path("favicon.ico", views.favicon, name="favicon"),
    path("theme", views.theme, name="theme"),
    path("organization", views.organization, name="organization"),
    path("profile", views.profile, name="profile"),
    path("profile/tokens/<uuid:public_id>/revoke", views.token_revoke, name="token-revoke"),
    path("sites", views.sites, name="site-list"),
    path("members", members.member_list, name="member-list"),
    path("members/<uuid:public_id>", members.member_detail, name="member-detail"),
    path("members/<uuid:public_id>/remove", members.member_remove, name="member-remove"),
]
