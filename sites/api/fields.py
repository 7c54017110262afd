"""How bodies and queries are read: nothing that was not asked for, and ids of what one may see."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from ..access import Policy

NOT_TAKEN = "This field cannot be set here."


class Strict(serializers.Serializer[Any]):
    """A body in which every name means something; one that is not taken is 422, never ignored.

    Inside another one it is whole also where that one changes a part: a schedule has its kind.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            taken = {name: field for name, field in self.fields.items() if not field.read_only}
            unknown = data.keys() - taken.keys()
            if unknown:
                raise ValidationError({name[:100]: [NOT_TAKEN] for name in sorted(unknown)})
            if self.parent is not None and getattr(self.root, "partial", False):
                missing = {
                    name: [field.error_messages["required"]]
                    for name, field in taken.items()
                    if field.required and name not in data
                }
                if missing:
                    raise ValidationError(missing)
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """Text that was sent as text: a number is not taken for its digits."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Path(Text):
    """A path inside a snapshot, as it is: blanks at its ends belong to it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 4000, "trim_whitespace": False} | kwargs)


class Flag(serializers.BooleanField):
    """true or false, and no other spelling of it; in a query their words."""

    TRUE_VALUES = {True, "true"}
    FALSE_VALUES = {False, "false"}

    def to_internal_value(self, data: Any) -> bool:
        if isinstance(data, int) and not isinstance(data, bool):
            self.fail("invalid", input=data)
        return bool(super().to_internal_value(data))


class Whole(serializers.IntegerField):
    """A whole number that was sent as one; digits in a query."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool | float):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(OpenApiTypes.UUID)
class Key(serializers.Field[Any, Any, Any, Any]):
    """The public id of something that the person may see; the object inside.

    A foreign id and one that does not exist are refused in the same words.
    """

    def __init__(self, policy: Policy, *, joins: tuple[str, ...] = (), **kwargs: Any) -> None:
        self.policy, self.joins = policy, joins
        super().__init__(**kwargs)

    def __deepcopy__(self, memo: Any) -> Key:
        return type(self)(*self._args, **self._kwargs)  # type: ignore[attr-defined]

    def to_internal_value(self, data: Any) -> Any:
        kind = self.policy.model._meta.verbose_name
        key = serializers.UUIDField().run_validation(data) if isinstance(data, str) else None
        user = self.context["request"].user
        rows = self.policy.model._default_manager.select_related(*self.joins)
        found = key and self.policy.rows(user, "view", rows).filter(public_id=key).first()
        if not found:
            raise ValidationError(f"No such {kind}.")
        return found

    def to_representation(self, value: Any) -> str:
        return str(value.public_id)


class Keys(serializers.ListField):
    """Public ids of things that the person may see; the objects inside, in one query."""

    def __init__(self, policy: Policy, *, most: int = 500, **kwargs: Any) -> None:
        self.policy = policy
        super().__init__(child=serializers.UUIDField(), max_length=most, **kwargs)

    def __deepcopy__(self, memo: Any) -> Keys:
        return type(self)(*self._args, **self._kwargs)  # type: ignore[attr-defined]

    def to_internal_value(self, data: Any) -> list[Any]:
        ids = list(dict.fromkeys(super().to_internal_value(data)))
        rows = self.policy.model._default_manager.filter(public_id__in=ids)
        seen = self.policy.rows(self.context["request"].user, "view", rows)
        found = {one.public_id: one for one in seen}
        words = f"No such {self.policy.model._meta.verbose_name}."
        missing: Any = {number: [words] for number, id in enumerate(ids) if id not in found}
        if missing:
            raise ValidationError(missing)
        return [found[id] for id in ids]


@extend_schema_field(OpenApiTypes.OBJECT)
class Document(serializers.DictField):
    """A JSON object of any keys."""


class Named(serializers.Serializer[Any]):
    """Something named beside the object: its id and name."""

    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField()


class Person(serializers.Serializer[Any]):
    """A person named beside an object."""

    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField(source="__str__")


def query_of(
    request: Request, serializer: type[Strict], context: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Read the parameters of an address that is no list; an unknown or repeated one is 422."""
    repeated = [name for name, values in request.GET.lists() if len(values) > 1]
    if repeated:
        raise ValidationError({name[:100]: ["Give this once."] for name in repeated})
    checked = serializer(data=request.GET.dict(), context=context or {})
    checked.is_valid(raise_exception=True)
    return checked.validated_data
