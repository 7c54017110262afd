"""How configuration comes in as CSV: each row by the rules that every door calls, all or none."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from .access import Policy
from .export import unguarded
from .models import User
from .problems import Refused
from .strict_json import load

# What is taken at once: its rules run in one transaction, twice.
LARGEST = 1024 * 1024
MOST = 500

Row = dict[str, str]
# Narrows rows to the organizations that the file may speak of.
Scope = Callable[[QuerySet[Any]], QuerySet[Any]]


@dataclass(frozen=True)
class Sheet:
    """How one kind of object stands in a file: its columns, what it has in them, how it is stored.

    `take` stores one row for a person, of what the scope leaves: it gives the object's name and
    what became of it.
    """

    columns: tuple[str, ...]
    tell: Callable[[Any], Sequence[Any]]
    take: Callable[[Row, User, Scope], tuple[str, str]]


@dataclass
class Outcome:
    """What became of a row, or would."""

    line: int
    name: str
    what: str = ""
    errors: list[str] = field(default_factory=list)


NEW, CHANGED, SAME = "new", "changed", "as it was"


def read(data: bytes, sheet: Sheet) -> list[tuple[int, Row]]:
    """Read a file into rows with their line numbers. Refused 422 with what is wrong with it."""
    if len(data) > LARGEST:
        raise _unreadable("The file is larger than 1 MB: send it in parts.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unreadable("The file is not UTF-8: save it as “CSV UTF-8”.") from None
    if "\x00" in text:
        raise _unreadable("The file holds NUL: it is no CSV.")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = [name.strip() for name in next(lines, [])]
        rows = [(lines.line_num, cells) for cells in lines if any(cells)]
    except csv.Error as error:
        raise _unreadable(f"The file is no CSV: line {lines.line_num}, {error}.") from None
    unknown = [name for name in head if name not in sheet.columns]
    if not head or unknown or len(set(head)) != len(head):
        found = f"“{unknown[0][:60]}” is none of them" if unknown else "each stands there once"
        raise _unreadable(f"The first line names columns of {', '.join(sheet.columns)}; {found}.")
    if len(rows) > MOST:
        raise _unreadable(f"The file has more than {MOST} rows: send it in parts.")
    for line, cells in rows:
        if len(cells) != len(head):
            raise _unreadable(f"Line {line} has {len(cells)} cells, and the first {len(head)}.")
    return [(line, dict(zip(head, map(unguarded, cells), strict=True))) for line, cells in rows]


def bring_in(
    rows: Iterable[tuple[int, Row]], sheet: Sheet, *, by: User, scope: Scope, keep: bool
) -> list[Outcome]:
    """Store rows in one transaction, or say what would become of each.

    Without `keep`, and where any row is refused, everything is taken back: the rules were asked,
    and nothing was written.
    """
    outcomes = []
    with transaction.atomic():
        for line, row in rows:
            outcome = Outcome(line, row.get("name", "") or row.get("id", ""))
            try:
                with transaction.atomic():
                    outcome.name, outcome.what = sheet.take(row, by, scope)
            except Refused as refusal:
                outcome.errors = _sentences(refusal.errors) or [refusal.detail]
            except ValidationError as error:
                named = getattr(error, "message_dict", None)
                outcome.errors = _sentences(named) or list(error.messages)
            outcomes.append(outcome)
        if not keep or any(outcome.errors for outcome in outcomes):
            transaction.set_rollback(True)
    return outcomes


def _sentences(errors: dict[str, list[str]] | None) -> list[str]:
    return [f"{name}: {text}" for name, texts in (errors or {}).items() for text in texts]


def _unreadable(words: str) -> Refused:
    return Refused("invalid", words, status=422)


# --- how cells are read --------------------------------------------------------------------------
def wrong(column: str, words: str) -> Refused:
    """Say what is wrong with a cell."""
    return Refused("invalid", words, status=422, errors={column: [words]})


def known(row: Row, policy: Policy, action: str, by: User, rows: QuerySet[Any]) -> Any:
    """Find what a row changes by its id; None where it has none and is new."""
    text = row.get("id", "").strip()
    if not text:
        return None
    try:
        key = UUID(text)
    except ValueError:
        raise wrong("id", f"“{text[:60]}” is no id; leave it empty for a new one.") from None
    found = policy.rows(by, action, rows).filter(public_id=key).first()
    if found is None:
        raise wrong("id", f"There is no such {rows.model._meta.verbose_name}.")
    return found


def named(row: Row, column: str, found: QuerySet[Any], *, needed: bool = False) -> Any:
    """Find the one thing that a cell names, of those that the person may name here."""
    name = row.get(column, "").strip()
    if not name:
        if needed:
            raise wrong(column, f"Name the {column}.")
        return None
    rows = list(found.filter(name=name)[:2])
    if not rows:
        raise wrong(column, f"There is no {column} “{name[:60]}” that you may name here.")
    if len(rows) > 1:
        raise wrong(column, f"Several are named “{name[:60]}”: name the organization and site too.")
    return rows[0]


def within(row: Row, column: str, found: QuerySet[Any]) -> QuerySet[Any]:
    """Narrow to what stands in the organization or site that another cell names, if it does."""
    name = row.get(column, "").strip()
    return found.filter(**{f"{column}__name": name}) if name else found


def stays(row: Row, column: str, value: object) -> None:
    """Refuse a cell that would change what is fixed."""
    text = row.get(column, "").strip()
    if text and text != str(value):
        raise wrong(column, f"It is “{value}” for good, and cannot become “{text[:60]}”.")


def document(row: Row, column: str, kind: type = dict) -> Any:
    """Read a cell of JSON; None where it is empty, which leaves what is stored as it is."""
    text = row.get(column, "").strip()
    if not text:
        return None
    try:
        value = load(text.encode())
    except ValueError as error:
        raise wrong(column, str(error)) from None
    if not isinstance(value, kind):
        raise wrong(column, f"Write a JSON {'object' if kind is dict else 'list'}.")
    return value


def number(row: Row, column: str) -> int | None:
    """Read a cell of digits."""
    text = row.get(column, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise wrong(column, f"“{text[:60]}” is no whole number.")
    return int(text)


def flag(row: Row, column: str) -> bool | None:
    """Read a cell that says true or false."""
    text = row.get(column, "").strip().lower()
    if text not in ("", "true", "false"):
        raise wrong(column, "Write true or false.")
    return None if not text else text == "true"
