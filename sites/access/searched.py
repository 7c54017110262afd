"""The admin's choices that are searched for, whatever an address or a form says was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect, AutocompleteSelectMultiple


def is_key(text: str) -> bool:
    """Say whether a text can be a row's key: digits, and no more than a column holds."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def _keys(values: Sequence[str]) -> list[str]:
    """Leave out what Django would fail on instead of refusing it."""
    return [one for one in values if not one or is_key(str(one))]


class Searched(AutocompleteSelect):
    """One of many rows."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        return super().optgroups(name, _keys(value), attr)


class SearchedMany(AutocompleteSelectMultiple):
    """Some of many rows."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        return super().optgroups(name, _keys(value), attr)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Cut what has more digits than a key, so that the field says it is none."""
        chosen = super().value_from_datadict(data, files, name)
        return [one if len(one) < 19 else f"{one[:18]}…" for one in chosen]
