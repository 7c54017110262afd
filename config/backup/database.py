"""Decides how every row is taken as of one instant, and put back, on SQLite and on PostgreSQL.

SQLite: its own online copy, read inside one transaction so that writers neither wait nor disturb.

PostgreSQL: one COPY per table inside one REPEATABLE READ transaction. The schema is not in it: it
is made by the migrations that the rows were written under, then the rows go in, then the migrations
since. So a backup needs no program beside the portal, and moves between versions of PostgreSQL.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

from config.backup import archive
from config.backup.archive import NotPossible
from sites.durable import move_in

Say = Callable[[str], None]
Migrations = list[list[str]]

_SQLITE = "portal.sqlite3"
_TABLES = "tables.json"
_PAGES = 4096
_MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY id"


@dataclass(frozen=True)
class Dump:
    """What was taken: the kind of database, its migrations, the files in their order."""

    kind: str
    migrations: Migrations
    parts: list[Path]


def contents() -> str:
    """Say which database this is when it holds any table; empty when it is empty or not there."""
    if _on_postgresql():
        with _connected() as db:
            full = db.execute(
                "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
                " WHERE n.nspname = current_schema() AND relkind IN ('r', 'p', 'v', 'm', 'S'))"
            ).fetchone()
        return f"PostgreSQL, {connection.settings_dict['NAME']}" if full and full[0] else ""
    path = _sqlite_path()
    if not path.exists():
        return ""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return str(path) if db.execute("SELECT 1 FROM sqlite_master").fetchone() else ""


def owns(path: Path) -> bool:
    """Say whether a file is the database's: the file itself and what SQLite keeps beside it."""
    return not _on_postgresql() and path.name.startswith(_sqlite_path().name)


def dump(folder: Path, say: Say) -> Dump:
    """Take every row as of one instant into files in `folder`."""
    if not contents():
        raise NotPossible("There is nothing to back up: this portal's database is empty.")
    return _dump_postgresql(folder, say) if _on_postgresql() else _dump_sqlite(folder, say)


def check(kind: str, migrations: Migrations) -> None:
    """Refuse what this portal could not read: another kind of database, a newer version."""
    if kind != connection.vendor:
        raise NotPossible(
            f"This backup is of a portal on {_name(kind)}, and DATABASE_URL names "
            f"{_name(connection.vendor)}. Restore it to the same kind of database."
        )
    known = MigrationLoader(None).disk_migrations
    newer = [f"{app}.{name}" for app, name in migrations if (app, name) not in known]
    if newer:
        raise NotPossible(
            f"This backup was made by another version of Yardmaster, which has {newer[0]}. "
            "Restore it with that version or a newer one."
        )


def load(path: Path, migrations: Migrations, say: Say) -> None:
    """Put the rows back into the empty database and bring it to this version."""
    if _on_postgresql():
        _load_postgresql(path, migrations, say)
    else:
        _load_sqlite(path)
    say("Database: every row is back.")
    call_command("migrate", interactive=False, verbosity=0)


# --- SQLite --------------------------------------------------------------------------------------


def _dump_sqlite(folder: Path, say: Say) -> Dump:
    copy = folder / _SQLITE
    source = sqlite3.connect(f"{_sqlite_path().as_uri()}?mode=ro", uri=True, isolation_level=None)
    with closing(source), closing(sqlite3.connect(copy)) as target:
        # A copy that finds the database changed begins again, unless it is inside a transaction.
        source.execute("BEGIN")
        migrations = [list(row) for row in source.execute(_MIGRATIONS)]
        source.backup(target, pages=_PAGES)
    say(f"Database: {copy.stat().st_size:,} bytes.")
    return Dump("sqlite", migrations, [copy])


def _load_sqlite(path: Path) -> None:
    place = _sqlite_path()
    connection.close()
    draft = place.with_name(f".{place.name}.restored")
    for member, content in archive.members(path):
        if member.name == f"database/{_SQLITE}" and content is not None:
            archive.write_out(draft, content, 0o600)
    for beside in ("-wal", "-shm", "-journal"):
        place.with_name(place.name + beside).unlink(missing_ok=True)
    move_in(draft, place)


def _sqlite_path() -> Path:
    return Path(connection.settings_dict["NAME"]).absolute()


# --- PostgreSQL ----------------------------------------------------------------------------------


def _dump_postgresql(folder: Path, say: Say) -> Dump:
    parts = [folder / _TABLES]
    with _connected() as db:
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        db.read_only = True
        _without_limits(db)
        migrations = [list(row) for row in db.execute(_MIGRATIONS)]
        tables = [
            {"table": table, "columns": columns, "file": f"{number:03}-{table}.copy"}
            for number, (table, columns) in enumerate(_tables(db), 1)
        ]
        rows = 0
        for one in tables:
            parts.append(folder / str(one["file"]))
            with db.cursor() as cursor, parts[-1].open("wb") as file:
                with cursor.copy(_copy(one, "TO STDOUT")) as pieces:
                    for piece in pieces:
                        file.write(piece)
                rows += max(cursor.rowcount, 0)
        # Sequences know no instant: what they give is the last number or a later one, both good.
        sequences = db.execute(
            "SELECT sequencename, last_value FROM pg_sequences"
            " WHERE schemaname = current_schema() AND last_value IS NOT NULL"
        ).fetchall()
    parts[0].write_text(json.dumps({"tables": tables, "sequences": dict(sequences)}, indent=1))
    say(f"Database: {rows:,} rows in {len(tables)} tables.")
    return Dump("postgresql", migrations, parts)


def _load_postgresql(path: Path, migrations: Migrations, say: Say) -> None:
    executor = MigrationExecutor(connection)
    executor.loader = _loader(migrations)
    say("Database: making its tables …")
    executor.migrate(_leaves(executor.loader, migrations))
    connection.close()
    about: dict[str, Any] = {}
    with _connected() as db:
        _without_limits(db)
        for member, content in archive.members(path):
            name = member.name.removeprefix("database/")
            if name == member.name or content is None:
                continue
            if name == _TABLES:
                about = json.load(content)
                _empty(db)
                continue
            (one,) = (one for one in about["tables"] if one["file"] == name)
            with db.cursor() as cursor, cursor.copy(_copy(one, "FROM STDIN")) as copy:
                while piece := content.read(1024 * 1024):
                    copy.write(piece)
        for sequence, value in about["sequences"].items():
            db.execute("SELECT setval(%s::regclass, %s)", (f'"{sequence}"', value))


def _loader(migrations: Migrations) -> MigrationLoader:
    """Load a migration that replaces others in their place if the backup has them all.

    Django goes by what the database has, and this one is empty: it would replace them always, also
    where the backup has but some of them.
    """
    has = {(app, name) for app, name in migrations}
    loader = MigrationLoader(connection, replace_migrations=False)
    for key, migration in loader.replacements.items():
        if has.issuperset(migration.replaces):
            loader.graph.remove_replaced_nodes(key, migration.replaces)
        else:
            loader.graph.remove_replacement_node(key, migration.replaces)
    return loader


def _leaves(loader: MigrationLoader, migrations: Migrations) -> list[tuple[str, str]]:
    """Give the migrations of the backup that no other of them builds on."""
    graph = loader.graph
    there = {(app, name) for app, name in migrations if (app, name) in graph.nodes}
    # An older backup has all that these replace, but not their names.
    there |= loader.replacements.keys() & graph.nodes.keys()
    built_on = {
        one for one in there if any(child.key in there for child in graph.node_map[one].children)
    }
    return sorted(there - built_on)


def _empty(db: psycopg.Connection[Any]) -> None:
    """Take out what migrations wrote: the backup has it too, as people have changed it since."""
    tables = sql.SQL(", ").join(sql.Identifier(table) for table, _ in _tables(db))
    db.execute(sql.SQL("TRUNCATE {}").format(tables))


def _tables(db: psycopg.Connection[Any]) -> list[tuple[str, list[str]]]:
    """Give each table with the columns that hold something of their own."""
    return db.execute(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid"
        " WHERE n.nspname = current_schema() AND c.relkind = 'r'"
        " AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
        " GROUP BY c.relname ORDER BY c.relname"
    ).fetchall()


def _copy(one: dict[str, Any], direction: str) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, one["columns"]))
    return sql.SQL("COPY {} ({}) " + direction).format(sql.Identifier(one["table"]), columns)


def _connected() -> psycopg.Connection[Any]:
    """Open a connection of its own, whose transaction ends with the block it is used in."""
    params = {**connection.get_connection_params(), "cursor_factory": psycopg.Cursor}
    return psycopg.connect(**params)


def _without_limits(db: psycopg.Connection[Any]) -> None:
    """Lift the limits that keep the portal's own statements short, for this transaction."""
    db.execute("SET LOCAL statement_timeout = 0")
    db.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def _on_postgresql() -> bool:
    return connection.vendor == "postgresql"


def _name(kind: str) -> str:
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(kind, kind)
