"""Which values of a free JSON document are secrets, and how it is shown and edited without them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

HIDDEN = "••••"
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|credential|private.?key|api.?key|community|authoriz",
    re.IGNORECASE,
)


def looks_secret(name: str) -> bool:
    """Guess from its name whether a value is a secret, where no schema says so."""
    return bool(_SECRET.search(name))


def masked(data: Any, secret: Callable[[str], bool] = looks_secret) -> Any:
    """Copy a JSON document with every secret's value replaced, however deep it lies."""
    if isinstance(data, dict):
        return {
            name: HIDDEN if secret(name) and value not in (None, "") else masked(value, secret)
            for name, value in data.items()
        }
    if isinstance(data, list):
        return [masked(value, secret) for value in data]
    return data


def restored(data: Any, stored: Any) -> Any:
    """Put stored values back where an edited document still says HIDDEN.

    ValueError names what says HIDDEN without anything having been stored at its place.
    """
    if isinstance(data, dict):
        known = stored if isinstance(stored, dict) else {}
        found = {}
        for name, value in data.items():
            if value == HIDDEN and name not in known:
                raise ValueError(f"“{name}” has no stored value: write it out.")
            found[name] = known[name] if value == HIDDEN else restored(value, known.get(name))
        return found
    if isinstance(data, list):
        known_list = stored if isinstance(stored, list) else []
        return [
            restored(value, known_list[place] if place < len(known_list) else None)
            for place, value in enumerate(data)
        ]
    if data == HIDDEN:
        raise ValueError("A hidden value was moved: write it out.")
    return data
