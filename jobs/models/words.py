"""The field of a run's status and result, whose words stand in the text of a query, not beside it.

The indexes of pending, executing and active runs are partial, and of those with a telling result. A
database that plans a statement once for all parameters cannot know that a parameter is `pending`,
and would read every run; SQLite knows an index's condition again only when it is spelled the same,
in the same order.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.lookups import Exact, In


class _Spelled:
    """A lookup that writes words of the closed set into the text; anything else stays beside it."""

    lhs: Any
    rhs_is_direct_value: Any

    def process_rhs(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        text, params = super().process_rhs(compiler, connection)  # type: ignore[misc]
        known = [word for word, _ in self.lhs.output_field.choices]
        if self.rhs_is_direct_value() and all(word in known for word in params):
            words = sorted(params, key=known.index)
            return text % tuple(f"'{word}'" for word in words), []
        return text, params


class WordField(models.CharField):
    """One of its choices, which are our own words; a CharField to migrations."""

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


@WordField.register_lookup
class SpelledExact(_Spelled, Exact):
    """`status = 'pending'`."""


@WordField.register_lookup
class SpelledIn(_Spelled, In):
    """`status IN ('claimed', …)`."""
