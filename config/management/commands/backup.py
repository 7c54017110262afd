"""Decides how a backup of the portal is asked for, and what the operator reads of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from config.backup import NotPossible, back_up
from sites.storage import StorageUnavailable

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Write database, snapshots, files and keys into one file."""

    help = "Back up the whole portal (database, snapshots, files, keys) into one file."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the one place."""
        parser.add_argument(
            "place",
            type=Path,
            help="a file that is not there yet (.gz at its end compresses it), or a folder",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Back up; every reason not to is one line."""
        try:
            path = back_up(options["place"], self.stdout.write)
        except (NotPossible, StorageUnavailable, OSError, Error, psycopg.Error) as error:
            raise CommandError(f"No backup was made. {error}") from error
        self.stdout.write(f"Backed up into {path}, {path.stat().st_size:,} bytes.")
        self.stdout.write("It holds keys and passwords: keep it where only you can read it.")
        for name in ("SECRET_KEY", "CREDENTIAL_KEYS"):
            if os.environ.get(name):
                self.stdout.write(f"{name} of the environment is not in it: keep that too.")
