"""Which values of a free JSON document are secrets, and how it is shown and edited without them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

HIDDEN = "••••"
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|credential|private.?key|api.?key|community|authoriz",
    re.IGNORECASE,
)

_ADDRESS = re.compile(
    r"(host(name)?|server|ur[li]|addr(ess)?|endpoint|domain|proxy|gateway|remote|target|port)s?$"
    r"|(^|_)ip(v?[46])?(_?addr(ess)?)?s?$",
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


def restored(data: Any, stored: Any, *, moved: bool = False) -> Any:
    """Put stored values back where an edited document still says HIDDEN.

    ValueError names what says HIDDEN without anything having been stored at its place. So it does
    where the secrets would go elsewhere: what they are for has `moved`, or an address among the
    values is another. Else whoever may edit could have a password sent to a machine of their own.
    """
    before = dict(_addresses(stored))
    moved = moved or any(
        value not in (HIDDEN, before.get(path)) for path, value in _addresses(data)
    )
    return _restored(data, stored, moved)


def _restored(data: Any, stored: Any, moved: bool) -> Any:
    if isinstance(data, dict):
        known = stored if isinstance(stored, dict) else {}
        found = {}
        for name, value in data.items():
            if value == HIDDEN and name not in known:
                raise ValueError(f"“{name}” has no stored value: write it out.")
            if value == HIDDEN and moved:
                raise ValueError(
                    f"The address was changed, and a stored secret goes to no other one: "
                    f"write “{name}” out again, or leave it away."
                )
            found[name] = (
                known[name] if value == HIDDEN else _restored(value, known.get(name), moved)
            )
        return found
    if isinstance(data, list):
        known_list = stored if isinstance(stored, list) else []
        return [
            _restored(value, known_list[place] if place < len(known_list) else None, moved)
            for place, value in enumerate(data)
        ]
    if data == HIDDEN:
        raise ValueError("A hidden value was moved: write it out.")
    return data


def _addresses(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Give each value that says where something is, with its place in the document."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _addresses(value, (*path, name))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from _addresses(value, (*path, place))
    elif (name := next((part for part in reversed(path) if isinstance(part, str)), None)) and (
        _ADDRESS.search(name)
    ):
        yield path, data
