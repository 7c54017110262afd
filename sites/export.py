"""How a list leaves as a file: how much of it, one file of a person at a time, and safe cells."""

from __future__ import annotations

import csv
import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from django.core.cache import cache

from .models import User

# A file holds no more rows than this.
MOST = 100_000
# So many rows are in memory at once.
AT_ONCE = 500
# A turn that was not renewed for so many seconds was left by a process that ended.
LEASE_S = 120
# When to ask again while another export of the same person is being sent.
RETRY_AFTER_S = 30
# What a spreadsheet would take for a formula, in either width; and what it skips before one.
_FORMULA = tuple("=+-@＝＋－＠\t\r\n")


class Turn:
    """A person's one export at a time, among all processes; it ends by itself when it is left."""

    def __init__(self, user: User) -> None:
        self.key, self.token = f"export:{user.pk}", uuid.uuid4().hex
        self.renewed = time.monotonic()

    def take(self) -> bool:
        """Take the turn; False while another export of the person has it."""
        return cache.add(self.key, self.token, LEASE_S)

    def renew(self) -> None:
        """Keep the turn: now and then, since each time is five statements in the database."""
        if time.monotonic() - self.renewed > LEASE_S / 4 and self._mine():
            cache.touch(self.key, LEASE_S)
            self.renewed = time.monotonic()

    def end(self) -> None:
        """Give the turn back, unless it has run out and is another's."""
        if self._mine():
            cache.delete(self.key)

    def _mine(self) -> bool:
        return bool(cache.get(self.key) == self.token)


class Export:
    """The text of a file in pieces; holds its turn until the last one, or until it is closed."""

    def __init__(self, turn: Turn, pieces: Generator[str, None, None]) -> None:
        self.turn, self.pieces = turn, pieces

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self.pieces)
        except BaseException:
            self.turn.end()
            raise

    def close(self) -> None:
        """End before the last piece, such as when the browser is gone."""
        self.pieces.close()
        self.turn.end()


class _Line:
    """A file of which the writer gets back what it wrote."""

    def write(self, text: str) -> str:
        return text


def csv_line(values: Iterable[Any]) -> str:
    """Write one line of CSV; a spreadsheet reads none of its cells as a formula."""
    return str(csv.writer(_Line()).writerow([_cell(value) for value in values]))


def _cell(value: Any) -> Any:
    """Make sure that no text is read as a formula; numbers stay numbers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    return f"'{text}" if _guards(text) else text


def unguarded(text: str) -> str:
    """Give back what `csv_line` was given: without the apostrophe before a formula."""
    return text[1:] if text.startswith("'") and _guards(text[1:]) else text


def _guards(text: str) -> bool:
    # A text that begins with an apostrophe of its own before a formula gets one more.
    return text.lstrip("'").startswith(_FORMULA)
