"""Decides how a backup of the portal is put back, and what the operator reads of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from config.backup import NotPossible, restore
from sites.storage import StorageUnavailable

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Put database, snapshots, files and keys back into an empty place."""

    help = "Restore a backup of the portal into an empty data folder and an empty database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the one file."""
        parser.add_argument("file", type=Path, help="what `manage.py backup` has written")

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore; every reason not to is one line."""
        try:
            restore(options["file"], self.stdout.write)
        except (NotPossible, StorageUnavailable, OSError, Error, psycopg.Error) as error:
            raise CommandError(f"Not restored. {error}") from error
        self.stdout.write("Restored. Start the portal as before; its agents go on by themselves.")
