"""Addresses of the portal's pages about places and of what stands around every page."""

from django.urls import path

from . import views

urlpatterns = [
    path("theme", views.theme, name="theme"),
    path("organization", views.organization, name="organization"),
    path("sites", views.sites, name="site-list"),
]
