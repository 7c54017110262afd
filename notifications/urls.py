"""Addresses of the portal's pages about what people are told."""

from django.urls import path

from . import views

urlpatterns = [
    path("notifications", views.notification_list, name="notification-list"),
    path("notifications/read", views.read_all, name="notifications-read"),
    path("notifications/<uuid:public_id>/read", views.read_one, name="notification-read"),
    path("profile/notifications", views.choose, name="notification-choices"),
    path("profile/mail", views.mail_on, name="mail-on"),
]
