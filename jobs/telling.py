"""Which changed lines tell something, what they are about, and how secrets in them are hidden.

A diff is shown to who may see the files. Its lines in a message reach lists and, where a job asks
for it, a language model: here a line rather says too little than a password.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

from sites.masking import HIDDEN, looks_secret, without_password
from sites.vault import Row, TextDiff

_LINE = 100
# More of a line is not looked at: what is shown is its beginning.
_LOOKED_AT = 1_000
_SHORTEST_SECRET = 4

_KEYS = (
    # "limit": 10
    re.compile(r'\s*"([^"]{1,40})"\s*:'),
    # <limit unit="A">10</limit>
    re.compile(r"\s*<([\w:.-]{1,40})(?:\s[^<>]*)?>[^<>]*</"),
    # limit : INT := 10;
    re.compile(r"\s*([A-Za-z_]\w{0,39})\s*(?:AT\s*\S+\s*)?:\s*[\w\[\].,() ]{1,60}:="),
    # set limit = 10, limit: 10, limit := 10
    re.compile(
        r"\s*(?:(?:set|export|let|const|var|#define)\s+)?([A-Za-z_][\w.\[\]-]{0,39})\s*[:=]"
    ),
)
_ATTRIBUTE = re.compile(r'([\w:.-]{1,40})="([^"]*)"')
# interface speed 100: the words before the last.
_WORDS = re.compile(r"\s*((?:[A-Za-z][\w-]{0,30}\s+){1,3})\S+\s*;?\s*")
_NAME = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
# Keys, certificates and hashes: long, of digits and both cases, or of hexadecimal digits alone.
_TOKEN = re.compile(
    r"(?<![\w+/=-])(?:(?=[\w+/=-]*[a-z])(?=[\w+/=-]*[A-Z])(?=[\w+/=-]*\d)[\w+/=-]{24,}"
    r"|[0-9a-fA-F]{32,})(?![\w+/=-])"
)
_KEY = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]*-----")
_NOTHING = re.compile(r"[\s\"':=<>{}\[\](),;|>-]*")


def rows_of(diff: TextDiff) -> list[tuple[str | None, str | None]]:
    """Give the changed lines side by side, (old, new); a side without one is None."""
    return [
        (row.left.text if row.left else None, row.right.text if row.right else None)
        for row in _changed(diff)
    ]


def _changed(diff: TextDiff) -> Iterator[Row]:
    return (row for hunk in diff.hunks for row in hunk.rows if row.left is not row.right)


def only_white_space(diff: TextDiff) -> bool:
    """Say whether old and new are alike but for white space; not known of a diff that is cut."""
    rows = rows_of(diff)
    if diff.cut or not rows:
        return False
    # A carriage return is shown as a sign.
    old, new = ("".join((row[side] or "") for row in rows).replace("␍", "") for side in (0, 1))
    return "".join(old.split()) == "".join(new.split())


def key_of(old: str, new: str, path: str) -> str:
    """Name what a changed line is about, where both sides are about the same; else empty."""
    old, new = old[:_LOOKED_AT], new[:_LOOKED_AT]
    if is_table(path):
        return _first_cell(old, new)
    for pattern in _KEYS:
        before, after = pattern.match(old), pattern.match(new)
        if before and after:
            return before[1] if before[1] == after[1] else ""
    was, now = dict(_ATTRIBUTE.findall(old)), dict(_ATTRIBUTE.findall(new))
    differs = [name for name in now if name in was and now[name] != was[name]]
    if len(differs) == 1:
        return str(differs[0])
    before, after = _WORDS.fullmatch(old), _WORDS.fullmatch(new)
    if before and after and before[1].split() == after[1].split():
        return " ".join(before[1].split())[:40]
    return ""


def _first_cell(old: str, new: str) -> str:
    first, second = (re.split(r"[;,\t]", line, maxsplit=1)[0].strip('" ') for line in (old, new))
    return f"row {first}" if first == second and 0 < len(first) <= 30 else ""


def cut(text: str, most: int) -> str:
    """Shorten a text, and show that it was."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


class Hider:
    """Hides known secrets, and what looks like one, before anything is cut."""

    def __init__(self, secrets: Sequence[str]) -> None:
        # A secret of several lines would be found in none of them.
        parts = {part.strip() for secret in secrets for part in (secret, *secret.splitlines())}
        self._secrets = sorted(
            (part for part in parts if len(part) >= _SHORTEST_SECRET), key=len, reverse=True
        )

    def text(self, text: str) -> str:
        """Hide known secrets in a name or a path."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def lines(self, diff: TextDiff, path: str, most: int, *, head: str = "") -> list[str]:
        """Give the first changed lines, removed ones marked −, added ones +.

        `head` is the first line of a table, which names its columns.
        """
        secret_cells = _SecretCells(path, head)
        told: list[str] = []
        total = 0
        for hunk in diff.hunks:
            sides = {sign: _Side(self, below=not is_table(path)) for sign in "−+"}
            for row in hunk.rows:
                for sign, line in (("−", row.left), ("+", row.right)):
                    if line is None:
                        continue
                    shown = sides[sign].read(secret_cells.hidden(line.text[:_LOOKED_AT])).strip()
                    if row.left is row.right or not shown:
                        continue
                    total += 1
                    if total <= most:
                        told.append(f"{sign} {cut(shown, _LINE)}")
        left = total + diff.cut - len(told)
        return [*told, f"and {left:,} more line{'' if left == 1 else 's'}"] if left else told


class _Side:
    """One side of a hunk, read line by line: a secret may stand below the line that names it."""

    def __init__(self, hider: Hider, *, below: bool) -> None:
        self._hider = hider
        self._looks_below = below  # in a table a column is named there, which is hidden by itself
        self._key = False  # between BEGIN and END
        self._below: int | None = None  # how far the line that names a secret is indented
        self._next = False  # the line before named a secret and did not say it

    def read(self, text: str) -> str:
        """Give the line as it may be shown."""
        if self._key or _KEY.search(text):
            marks = _KEY.search(text)
            self._key = marks is None or marks[1] == "BEGIN"
            return marks[0] if marks else HIDDEN
        if not text.strip():
            return text
        indent = len(text) - len(text.lstrip())
        if self._below is not None:
            closes = bool(_NOTHING.fullmatch(text)) or text.lstrip().startswith("</")
            if not closes and (self._next or indent > self._below):
                self._next = False
                return HIDDEN
            if indent <= self._below:
                self._below = None
        self._next = False
        text = without_password(self._hider.text(text))
        for name in _NAME.finditer(text):
            if not looks_secret(name[0]):
                continue
            if self._looks_below and _NOTHING.fullmatch(text, name.end()):
                self._below, self._next = indent, True
                return text
            if _NOTHING.fullmatch(text, name.end()):
                break
            return f"{text[: name.end()]} {HIDDEN}"
        return _TOKEN.sub(HIDDEN, text)


class _SecretCells:
    """The cells of a table whose head names them as secret; any other text has none."""

    def __init__(self, path: str, head: str) -> None:
        self._columns: list[int] = []
        if is_table(path):
            self._delimiter = max("\t;,", key=head.count)
            names = self._cells(head)
            self._columns = [at for at, name in enumerate(names) if looks_secret(name.strip())]

    def _cells(self, line: str) -> list[str]:
        # A quote that is not closed runs on to the next line; the cells before it are right.
        return next(csv.reader([line], delimiter=self._delimiter), [])

    def hidden(self, line: str) -> str:
        """Hide the cells of the secret columns; their names stay."""
        if not self._columns:
            return line
        cells = self._cells(line)
        for at in self._columns:
            if at < len(cells) and not looks_secret(cells[at].strip()):
                cells[at] = HIDDEN
        return self._delimiter.join(cells)


def is_table(path: str) -> bool:
    """Say whether a file's first line names its columns."""
    return path.lower().endswith((".csv", ".tsv"))
