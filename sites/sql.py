"""The few words in which hand-written SQL differs between PostgreSQL and SQLite."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

from django.db import connection
from django.db.models import Model

M = TypeVar("M", bound=Model)


class Sql(NamedTuple):
    """A piece of SQL with its parameters, in the order in which they stand in the text."""

    text: str
    params: tuple[Any, ...] = ()


def on_postgresql() -> bool:
    """Say which of the two texts is meant."""
    return connection.vendor == "postgresql"


def now() -> str:
    """The database's own time: the only one that decides anything."""
    return (
        "STATEMENT_TIMESTAMP()" if on_postgresql() else "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    )


def clock() -> datetime:
    """Ask the database what time it is."""
    [(at,)] = rows(Sql(f"SELECT {now()}"))
    return at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=UTC)


def later(seconds: str) -> str:
    """The database's time so many seconds on; `seconds` is a number or a column."""
    if on_postgresql():
        return f"(STATEMENT_TIMESTAMP() + MAKE_INTERVAL(secs => {seconds}))"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'now', ({seconds}) || ' seconds')"


def seconds_since(column: str) -> str:
    """How long ago a time was, in seconds with fractions; null where there is none."""
    if on_postgresql():
        return f"EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP() - {column})"
    return f"(JULIANDAY('now') - JULIANDAY({column})) * 86400.0"


def least(*values: str) -> str:
    """The smallest of several values that are not null."""
    return f"{'LEAST' if on_postgresql() else 'MIN'}({', '.join(values)})"


def greatest(*values: str) -> str:
    """The largest of several values that are not null."""
    return f"{'GREATEST' if on_postgresql() else 'MAX'}({', '.join(values)})"


def uuid_text(column: str) -> str:
    """A UUID column as JSON text with dashes; SQLite keeps 32 hex digits."""
    if on_postgresql():
        return f"{column}::text"
    cuts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    return " || '-' || ".join(f"SUBSTR({column}, {start}, {size})" for start, size in cuts)


def json_object() -> str:
    """The function that makes a JSON object of keys and values."""
    return "JSONB_BUILD_OBJECT" if on_postgresql() else "JSON_OBJECT"


def has_text(column: str, text: str) -> str:
    """That a JSON list holds a text; the text is one of our own words."""
    if on_postgresql():
        return f"""{column} @> '["{text}"]'"""
    return f"EXISTS (SELECT 1 FROM JSON_EACH({column}) AS held WHERE held.value = '{text}')"


def as_param(value: Any) -> Any:
    """A Python value as the database keeps it: UUIDs are hex digits on SQLite."""
    if isinstance(value, uuid.UUID) and not on_postgresql():
        return value.hex
    return value


def as_uuid(value: Any) -> uuid.UUID:
    """A UUID as it came out of a hand-written statement."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(hex=value)


def one_of(column: str, ids: Iterable[int]) -> Sql:
    """A condition that is true for these ids; one text for any number of them on PostgreSQL."""
    if on_postgresql():
        return Sql(f"{column} = ANY(CAST(%s AS BIGINT[]))", (list(ids),))
    return Sql(f"{column} IN ({', '.join(str(int(pk)) for pk in ids)})")


def one_of_pairs(columns: str, pairs: Sequence[tuple[uuid.UUID, int]]) -> Sql:
    """A condition that is true for these pairs of a UUID and a number; `columns` as `(a, b)`.

    One text for any number of them on PostgreSQL.
    """
    if on_postgresql():
        pair = "SELECT * FROM UNNEST(CAST(%s AS UUID[]), CAST(%s AS INT[]))"
        return Sql(
            f"{columns} IN ({pair})", ([one for one, _ in pairs], [other for _, other in pairs])
        )
    # SQLite uses no index for a pair, so the first of the two is asked for alone as well.
    first, _, _ = columns.strip("()").partition(",")
    values, pair = ", ".join(["%s"] * len(pairs)), ", ".join(["(%s, %s)"] * len(pairs))
    return Sql(
        f"{first} IN ({values}) AND {columns} IN (VALUES {pair})",
        (*(one for one, _ in pairs), *(one for pair in pairs for one in pair)),
    )


def table(name: str, columns: Mapping[str, str], given: Iterable[Mapping[str, Any]]) -> Sql:
    """Rows from Python as something to select from, in one parameter whatever their number.

    `columns` name PostgreSQL's types; a value that a row leaves out is null.
    """
    values = json.dumps(list(given), default=_as_text)
    if on_postgresql():
        typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        return Sql(f"JSONB_TO_RECORDSET(CAST(%s AS JSONB)) AS {name} ({typed})", (values,))
    parts = ", ".join(f"JSON_EXTRACT(value, '$.{column}') AS {column}" for column in columns)
    return Sql(f"(SELECT {parts} FROM JSON_EACH(%s)) AS {name}", (values,))


def _as_text(value: Any) -> str:
    """A value that JSON has no word for, as the database reads it."""
    if isinstance(value, datetime):
        return str(connection.ops.adapt_datetimefield_value(value))
    return str(as_param(value))


def rows(statement: Sql) -> list[tuple[Any, ...]]:
    """Run one statement and give its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement.text, [as_param(value) for value in statement.params])
        return cursor.fetchall() if cursor.description else []


def objects(model: type[M], statement: Sql) -> list[M]:
    """Run one statement and give its rows as a model's objects.

    A column that is none of the model's becomes an attribute, as it came out; fields without a
    column are read when asked for. `raw` does the same and works out how for each query anew, which
    was a tenth of what an agent's request cost.
    """
    with connection.cursor() as cursor:
        cursor.execute(statement.text, [as_param(value) for value in statement.params])
        columns = tuple(column[0] for column in cursor.description)
        fields, others = _reading(model, columns, connection.vendor)
        made = []
        for row in cursor.fetchall():
            values = []
            for _, place, converters in fields:
                value = row[place]
                for convert in converters:
                    value = convert(value)
                values.append(value)
            one = model.from_db(connection.alias, [name for name, _, _ in fields], values)
            for name, place in others:
                setattr(one, name, row[place])
            made.append(one)
        return made


@lru_cache(maxsize=64)
def _reading(model: type[Model], columns: tuple[str, ...], vendor: str) -> tuple[Any, Any]:
    """Say how rows become objects: fields in the model's order, then all other columns."""
    fields, known = [], set()
    for field in model._meta.concrete_fields:
        known.add(field.column)
        if field.column in columns:
            column = field.get_col(model._meta.db_table)
            converters = [
                partial(_convert, converter, column)
                for converter in (
                    *connection.ops.get_db_converters(column),
                    *column.get_db_converters(connection),
                )
            ]
            fields.append((field.attname, columns.index(field.column), converters))
    others = [(name, place) for place, name in enumerate(columns) if name not in known]
    return fields, others


def _convert(converter: Callable[..., Any], column: Any, value: Any) -> Any:
    return converter(value, column, connection)
