"""How tests see that nothing was written: what lies in the tables, in one statement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connection, models


def counts(tables: Iterable[type[models.Model]]) -> dict[str, int]:
    """Give the number of rows of each model, by its name."""
    parts = (f"SELECT '{model.__name__}', COUNT(*) FROM {model._meta.db_table}" for model in tables)
    return dict(_read(" UNION ALL ".join(parts)))


def contents(model: type[models.Model]) -> list[Any]:
    """Give every row as it is stored, in the order of the ids."""
    return _read(f"SELECT * FROM {model._meta.db_table} ORDER BY id")


def _read(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()
