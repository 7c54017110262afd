"""Organizations, sites, targets, files, the vault and access: what exists without any job."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate


class SitesConfig(AppConfig):
    name = "sites"

    def ready(self) -> None:
        pre_migrate.connect(_no_limit, sender=self)
        post_migrate.connect(_the_usual_limit, sender=self)


def _no_limit(using: str, **_: Any) -> None:
    """Let migrations take their time: an index of a long history takes minutes."""
    _on_postgresql(using, "SET statement_timeout = 0")


def _the_usual_limit(using: str, **_: Any) -> None:
    _on_postgresql(using, "RESET statement_timeout")


def _on_postgresql(using: str, statement: str) -> None:
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(statement)
