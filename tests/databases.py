"""Decides how each process of a test run gets its database: migrated once, then copied.

Whoever comes first makes the template, the others wait for it. Nothing is left on a server that
was there before the run.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.test import TransactionTestCase

# What migrating has written stays.
KEPT = {"django_migrations", "django_content_type", "auth_permission"}


@contextmanager
def migrated_copy() -> Iterator[None]:
    """Give this process an empty, migrated database of its own for as long as the block lasts."""
    with (settings.DATA_DIR / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished().exists():
            make_template()
    # pytest-django has put the process's number into this name.
    own = settings.DATABASES["default"]["TEST"].get("NAME") or f"test_{outer_name()}"
    if connection.vendor == "postgresql":
        quoted = connection.ops.quote_name(own)
        on_server(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
        on_server(f"CREATE DATABASE {quoted} TEMPLATE {template()}")
    else:
        shutil.copyfile(template(), own)
    outer = use(own)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty())
            yield
    finally:
        use(outer)
        if connection.vendor == "postgresql":
            # By force: what a test has started may hold a connection a moment longer.
            on_server(f"DROP DATABASE {quoted} WITH (FORCE)")


def empty() -> None:
    """Delete what a test has committed, instead of Django's way.

    That truncates a hundred tables for a dozen rows, and writes all permissions anew.
    """
    tables = set(connection.introspection.django_table_names(include_views=False)) - KEPT
    filled = " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in sorted(tables)
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(filled)
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {table}")


def one_waits_for_a_lock() -> bool:
    """Say whether some connection to PostgreSQL waits for what another one holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def reads_at_most(rows: int, *tables: str) -> Iterator[None]:
    """See that the block fetches so few rows of these tables; on PostgreSQL, in a transaction.

    Of all that was fetched, also of what was thrown away then: it is what takes the time.
    """
    before = _fetched(tables)
    yield
    fetched = {table: number - before[table] for table, number in _fetched(tables).items()}
    assert sum(fetched.values()) <= rows, fetched


def _fetched(tables: tuple[str, ...]) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0)"
            " FROM pg_stat_xact_user_tables WHERE relname = ANY(%s)",
            [list(tables)],
        )
        return dict(cursor.fetchall())


def drop_template() -> None:
    """Remove what the run has left on the server; its folder goes with all that is in it."""
    if connection.vendor == "postgresql":
        on_server(f"DROP DATABASE IF EXISTS {template()} WITH (FORCE)")


def template() -> str:
    """Name the run's template: a database, or a file in the run's folder."""
    if connection.vendor == "postgresql":
        return f"template_{sha256(str(settings.DATA_DIR).encode()).hexdigest()[:12]}"
    return str(settings.DATA_DIR / "template.sqlite3")


def finished() -> Path:
    """Name the file that says that the template is whole."""
    return settings.DATA_DIR / "template.finished"


def make_template() -> None:
    """Migrate an empty database; what a process that died here has left is thrown away."""
    drop_template()
    if connection.vendor == "postgresql":
        on_server(f"CREATE DATABASE {template()}")
    else:
        Path(template()).unlink(missing_ok=True)
    outer = use(template())
    try:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("createcachetable", verbosity=0)
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        use(outer)
    finished().touch()


def outer_name() -> str:
    """The database that the settings name."""
    return str(connection.settings_dict["NAME"])


def use(name: str) -> str:
    """Let the connection lead to another database; return where it led."""
    before = outer_name()
    connection.close()
    settings.DATABASES["default"]["NAME"] = name
    connection.settings_dict["NAME"] = name
    return before


def on_server(statement: str) -> None:
    """Run a statement of the server's own, past pytest-django, which forbids connections."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as server:
        server.execute(statement)
