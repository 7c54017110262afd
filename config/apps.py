"""The composition root: settings, addresses, and the commands that cross apps."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
