"""The field of a run's status, whose words stand in the text of a query instead of beside it.

The indexes of pending, executing and active runs are partial. A database that plans a statement
once for all parameters cannot know that a parameter is `pending`, and would read every run; SQLite
knows an index's condition again only when it is spelled the same, in the same order.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.lookups import Exact, In

from ..states import Status


class _Spelled:
    """A lookup that writes words of the closed set into the text; anything else stays beside it."""

    rhs_is_direct_value: Any

    def process_rhs(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        text, params = super().process_rhs(compiler, connection)  # type: ignore[misc]
        if self.rhs_is_direct_value() and all(word in Status.values for word in params):
            words = sorted(params, key=Status.values.index)
            return text % tuple(f"'{word}'" for word in words), []
        return text, params


class StatusField(models.CharField):
    """One of the eight statuses; a CharField to migrations."""

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


@StatusField.register_lookup
class SpelledExact(_Spelled, Exact):
    """`status = 'pending'`."""


@StatusField.register_lookup
class SpelledIn(_Spelled, In):
    """`status IN ('claimed', …)`."""
