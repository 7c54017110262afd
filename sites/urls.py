"""Addresses of the portal's pages about places and of what stands around every page."""

from django.urls import path

from . import views

urlpatterns = [
    path("favicon.ico", views.favicon, name="favicon"),
    path("theme", views.theme, name="theme"),
    path("organization", views.organization, name="organization"),
    path("profile", views.profile, name="profile"),
    path("profile/tokens/<uuid:public_id>/revoke", views.token_revoke, name="token-revoke"),
    path("sites", views.sites, name="site-list"),
]
