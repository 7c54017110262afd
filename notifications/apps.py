"""Who hears of what; reads Events and nothing else."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
