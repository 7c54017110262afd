"""How a long list of objects is validated: by a plan made once from the serializer of one.

A serializer takes about 0.1 ms for each object, which is most of what a batch costs. The plan takes
what is plainly right; whatever it does not, the serializer reads, and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.fields import empty

Check = Callable[[Any], Any]
# Not of our kind of right, or not at all.
UNSURE = object()


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
    """Make the plan of a serializer: it gives the validated object, or UNSURE."""
    child = kind()
    checks: dict[str, Check] = {}
    needed: set[str] = set()
    defaults: dict[str, Any] = {}
    for name, field in child.fields.items():
        checks[name] = unplanned if hasattr(child, f"validate_{name}") else check_of(field)
        if field.required:
            needed.add(name)
        elif field.default is not empty:
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


def unplanned(value: Any) -> Any:
    """Leave a value to the serializer."""
    return UNSURE


def check_of(field: serializers.Field[Any, Any, Any, Any]) -> Check:
    """Make the check of one field; fields of other kinds are left to the serializer."""
    match field:
        case serializers.Serializer():
            check: Check = plan_of(type(field))
        case serializers.UUIDField():
            check = a_uuid
        case serializers.IntegerField(min_value=int(least), max_value=int(most)):

            def check(value: Any) -> Any:
                return value if type(value) is int and least <= value <= most else UNSURE

        case serializers.ChoiceField(choice_strings_to_values=known):

            def check(value: Any) -> Any:
                return known.get(value, UNSURE) if type(value) is str else UNSURE

        case serializers.CharField(max_length=int(most), allow_blank=blank) if (
            type(field) is serializers.CharField and field.trim_whitespace
        ):

            def check(value: Any) -> Any:
                fits = type(value) is str and len(value) <= most and value == value.strip()
                return value if fits and (value or blank) else UNSURE

        case _:
            return unplanned
    return nullable(check) if field.allow_null else check


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
