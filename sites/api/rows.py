"""How a long list of objects is validated: by a plan made once from the serializer of one.

A serializer takes about 0.1 ms for each object, which is most of what a batch costs. The plan takes
what is plainly right; whatever it does not, the serializer reads, and says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

from django.core.validators import (
    MaxLengthValidator,
    MaxValueValidator,
    MinValueValidator,
    ProhibitNullCharactersValidator,
)
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.validators import ProhibitSurrogateCharactersValidator

Check = Callable[[Any], Any]
# Not of our kind of right, or not at all.
UNSURE = object()
# The validators that the checks below speak for.
KNOWN = {
    MinValueValidator,
    MaxValueValidator,
    MaxLengthValidator,
    ProhibitNullCharactersValidator,
    ProhibitSurrogateCharactersValidator,
}
_REFUSING: set[Any] = set()
REFUSED = re.compile("[\x00\ud800-\udfff]")


class Rows(serializers.ListField):
    """A ListField whose child is a serializer; takes and refuses what that takes and refuses."""

    def run_child_validation(self, data: list[Any]) -> list[Any]:
        """Validate each object; the errors name those that are wrong by their number."""
        kind: Any = type(self.child)
        plan = plan_of(kind)
        found: list[Any] = []
        errors: dict[Any, Any] = {}
        for number, item in enumerate(data):
            row = plan(item)
            if row is UNSURE:
                try:
                    row = self.child.run_validation(item)
                except serializers.ValidationError as error:
                    errors[number] = error.detail
            found.append(row)
        if errors:
            raise serializers.ValidationError(errors)
        return found


@cache
def plan_of(kind: type[serializers.Serializer[Any]]) -> Check:
    """Make the plan of a serializer: it gives the validated object, or UNSURE.

    A serializer that reads objects in its own way has none.
    """
    child = kind()
    for name in ("run_validation", "to_internal_value", "run_validators", "get_validators"):
        way = getattr(kind, name)
        if way is not getattr(serializers.Serializer, name) and way not in _REFUSING:
            return unplanned
    checks: dict[str, Check] = {}
    needed: set[str] = set()
    defaults: dict[str, Any] = {}
    for name, field in child.fields.items():
        own = hasattr(child, f"validate_{name}") or field.source != name or field.read_only
        checks[name] = unplanned if own else check_of(field)
        if field.required:
            needed.add(name)
        elif field.default is not empty:
            if callable(field.default) or own:
                return unplanned
            defaults[name] = field.default

    def plan(item: Any) -> Any:
        if type(item) is not dict or not needed <= item.keys():
            return UNSURE
        row = dict(defaults)
        for name, value in item.items():
            # Of a name that is not in the plan the serializer may know more.
            value = checks.get(name, unplanned)(value)
            if value is UNSURE:
                return UNSURE
            row[name] = value
        try:
            return child.validate(row)
        except serializers.ValidationError:
            return UNSURE

    return plan


def refuses_names(way: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a `to_internal_value` that only refuses names which are no fields: no plan takes one."""
    _REFUSING.add(way)
    return way


def unplanned(value: Any) -> Any:
    """Leave a value to the serializer."""
    return UNSURE


def check_of(field: serializers.Field[Any, Any, Any, Any]) -> Check:
    """Make the check of one field; one of another kind, or with validators of its own, has none."""
    if isinstance(field, serializers.Serializer):
        check = plan_of(type(field))
        return nullable(check) if field.allow_null and check is not unplanned else check
    if any(type(one) not in KNOWN for one in field.validators):
        return unplanned
    # Exactly these kinds: one derived from them may take and refuse other things.
    if type(field) is serializers.UUIDField:
        check = a_uuid
    elif type(field) is serializers.IntegerField:
        if field.min_value is None or field.max_value is None:
            return unplanned
        check = a_number(field.min_value, field.max_value)
    elif type(field) is serializers.ChoiceField:
        check = a_word(field.choice_strings_to_values)
    elif type(field) is serializers.CharField and field.max_length and field.trim_whitespace:
        check = a_text(field.max_length, blank=field.allow_blank)
    else:
        return unplanned
    return nullable(check) if field.allow_null else check


def a_number(least: int, most: int) -> Check:
    """Take a whole number within these bounds."""
    return lambda value: value if type(value) is int and least <= value <= most else UNSURE


def a_word(known: dict[str, Any]) -> Check:
    """Take one of these words."""
    return lambda value: known.get(value, UNSURE) if type(value) is str else UNSURE


def a_text(most: int, *, blank: bool) -> Check:
    """Take text that fits, with nothing around it to trim and no character that is refused."""

    def check(value: Any) -> Any:
        fits = type(value) is str and len(value) <= most and value == value.strip()
        return value if fits and (value or blank) and not REFUSED.search(value) else UNSURE

    return check


def a_uuid(value: Any) -> Any:
    """Take a UUID in its usual spelling."""
    if type(value) is not str or len(value) != 36:
        return UNSURE
    try:
        return UUID(value)
    except ValueError:
        return UNSURE


def nullable(check: Check) -> Check:
    """Let null pass."""
    return lambda value: None if value is None else check(value)
