"""Agents that enrol, advertise their tools and show signs of life."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from sites.access import grantable

        from .models import PoolGroupPermission, PoolUserPermission

        grantable("pool", PoolUserPermission, PoolGroupPermission)
