"""A clock of the database that a test moves, for each process that connects after `moving` began.

It is what planners, sweeps and claims ask for the time (sites/sql.py).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.backends.signals import connection_created

Move = Callable[[timedelta], None]


@contextmanager
def moving() -> Iterator[Move]:
    """Give what moves the clock so far from the right time; it is right again afterwards."""
    if connection.vendor == "postgresql":
        with _on_postgresql() as move:
            yield move
        return
    _shift().write_text("0")
    follow()
    connection.close()
    try:
        yield lambda by: _put(_shift(), str(by.total_seconds()))
    finally:
        _shift().unlink()
        connection_created.disconnect(_follow_file)
        connection.close()


def follow() -> None:
    """Let the connections of this process have the moved clock; PostgreSQL's have it anyway."""
    if connection.vendor == "sqlite" and _shift().exists():
        connection_created.connect(_follow_file)


@contextmanager
def _on_postgresql() -> Iterator[Move]:
    """Put a function of ours before the server's own, in the order in which it looks for them."""
    quoted = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE SCHEMA moved;"
            "CREATE TABLE moved.clock AS SELECT interval '0' AS shift;"
            "CREATE FUNCTION moved.statement_timestamp() RETURNS timestamptz STABLE LANGUAGE sql"
            " AS 'SELECT pg_catalog.statement_timestamp() + shift FROM moved.clock';"
            f"ALTER DATABASE {quoted} SET search_path = moved, pg_catalog, public"
        )
    connection.close()

    def move(by: timedelta) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE moved.clock SET shift = '{by.total_seconds()} seconds'")

    try:
        yield move
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {quoted} RESET search_path; DROP SCHEMA moved CASCADE")
        connection.close()


def _shift() -> Path:
    return Path(settings.DATA_DIR) / f"clock of {Path(connection.settings_dict['NAME']).name}"


def _put(path: Path, text: str) -> None:
    """Write so that nobody reads half of it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _follow_file(connection: Any, **_: Any) -> None:
    """Let SQLite's two functions that know the time ask for the moved one."""
    plain = sqlite3.connect(":memory:", check_same_thread=False)

    def moved(name: str, words: tuple[Any, ...]) -> Any:
        for at, word in enumerate(words):
            if str(word).lower() == "now":
                words = (*words[: at + 1], f"{_shift().read_text()} seconds", *words[at + 1 :])
                break
        marks = ", ".join("?" * len(words))
        return plain.execute(f"SELECT {name}({marks})", words).fetchone()[0]

    for name in ("strftime", "julianday"):
        connection.connection.create_function(
            name, -1, lambda *words, name=name: moved(name, words), deterministic=False
        )
