"""Which paths a list of globs names."""

import re
from collections.abc import Iterable, Iterator
from re import Pattern


class BadPattern(ValueError):
    """A glob that cannot mean anything."""


def compile_patterns(patterns: Iterable[str]) -> Pattern[str]:
    """Return one expression that fully matches the paths that any of the globs names.

    A glob without a slash names files and folders at any depth; one with a slash counts from the
    top. `*` and `?` stay within a name, `**` crosses folders, `[a-z]` and `[!a-z]` are sets. What
    names a folder names all that is in it. An empty list matches nothing.
    """
    parts = [_translate(pattern) for pattern in patterns]
    return re.compile("|".join(parts) if parts else r"(?!)", re.DOTALL)


def _translate(pattern: str) -> str:
    path = pattern.strip().strip("/")
    if not path:
        raise BadPattern(f"The pattern {pattern!r} names nothing.")
    if ".." in path.split("/"):
        raise BadPattern(f"The pattern {pattern!r} must not leave the folder with “..”.")
    anchored = "/" in pattern.strip().rstrip("/")
    names = path.split("/")
    expression = "" if anchored else "(?:.*/)?"
    for position, name in enumerate(names):
        last = position == len(names) - 1
        if name == "**":
            expression += ".+" if last else "(?:[^/]+/)*"
        else:
            expression += "".join(_translate_name(name)) + ("" if last else "/")
    return f"(?:{expression}(?:/.*)?)"


def _translate_name(name: str) -> Iterator[str]:
    position = 0
    while position < len(name):
        letter = name[position]
        closing = name.find("]", position + 2) if letter == "[" else -1
        if letter == "*":
            yield "[^/]*"
        elif letter == "?":
            yield "[^/]"
        elif closing > 0:
            letters = name[position + 1 : closing]
            negated = letters.startswith("!")
            escaped = re.sub(r"([\\\]\[^&~|])", r"\\\1", letters[negated:])
            yield f"(?!/)[{'^' if negated else ''}{escaped}]"
            position = closing
        else:
            yield re.escape(letter)
        position += 1
