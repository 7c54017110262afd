"""Where the tests of backups let a portal move to: another folder, another database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection

from tests import databases


def move_house(settings: Any, folder: Path) -> None:
    """Let the portal have another data folder, empty but for a key as each start makes one."""
    folder.mkdir(mode=0o700)
    settings.DATA_DIR = folder
    settings.MEDIA_ROOT = folder / "files"
    settings.VAULT_ROOT = folder / "vault"
    settings.STAGING_ROOT = folder / "staging"
    (folder / "secret-key").write_text(f"key of {folder.name}")
    (folder / "secret-key").chmod(0o600)


@contextmanager
def empty_database(folder: Path) -> Iterator[None]:
    """Let the portal have another database, with nothing in it, while the block lasts."""
    name = str(folder / "portal.sqlite3")
    quoted = ""
    if connection.vendor == "postgresql":
        name = f"restored_{uuid.uuid4().hex[:12]}"
        quoted = connection.ops.quote_name(name)
        databases.on_server(f"CREATE DATABASE {quoted}")
    outer = databases.use(name)
    try:
        yield
    finally:
        databases.use(outer)
        if quoted:
            databases.on_server(f"DROP DATABASE {quoted} WITH (FORCE)")
