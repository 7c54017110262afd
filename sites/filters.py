"""Which parameters narrow the lists of places and people, and how a filter reads its value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Expression, F, Q, QuerySet, TextField, Value
from django.db.models.functions import Coalesce, Concat, Lower, NullIf, Trim
from django_filters import FilterSet
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField

from .access import Policy
from .models import Credential, Invitation, Membership, Organization, Role, Site, Target, Team
from .permissions import organization_policy, site_policy, team_policy

SEARCH_LIMIT = 200


class ListFilter(FilterSet):
    """The filters of one list. What is no filter is refused by the API's door, not here."""

    request: Any


class _KeyField(forms.ModelChoiceField):
    """An id of something that the person may see; "no such" for all others alike."""

    def to_python(self, value: Any) -> Any:
        words = f"No such {self.queryset.model._meta.verbose_name}."  # type: ignore[union-attr]
        try:
            return super().to_python(value)
        except ValidationError:
            raise ValidationError(words, code="invalid_choice") from None


class KeyFilter(filters.ModelChoiceFilter):
    """Narrow by the public id of something that the person may see."""

    field_class = _KeyField

    def __init__(self, policy: Policy, field_name: str) -> None:
        def visible(request: Any) -> QuerySet[Any]:
            rows = policy.model._default_manager.all()
            return policy.rows(request.user, "view", rows) if request else rows.none()

        super().__init__(
            field_name=field_name,
            queryset=visible,
            to_field_name="public_id",
            label=f"The {policy.model._meta.verbose_name}, by its id.",
        )


class _TimeField(IsoDateTimeField):
    def to_python(self, value: Any) -> datetime | None:
        try:
            found: datetime | None = super().to_python(value)
            # Before the databases do it: at the ends of the calendar no zone can hold it.
            return found and found.astimezone(UTC)
        except (OverflowError, ValueError):
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class TimeFilter(filters.IsoDateTimeFilter):
    """Narrow by an instant, ISO 8601; without a zone it is UTC."""

    field_class = _TimeField

    def filter(self, qs: QuerySet[Any], value: datetime | None) -> QuerySet[Any]:
        return super().filter(qs, value and as_stored(value))


def as_stored(value: datetime) -> Any:
    """Give an instant, in UTC, as it can be compared with a column.

    SQLite compares times as text, and holds three digits of a second or six: without zeros at its
    end the text stands before each way to write the same instant.
    """
    if connection.vendor != "sqlite":
        return value
    text = str(value.replace(tzinfo=None))
    return Value(text.rstrip("0").rstrip(".") if "." in text else text, output_field=TextField())


class _ChoicesField(forms.MultipleChoiceField):
    """Several values, as repeated parameters; an empty one is none."""

    def to_python(self, value: Any) -> list[str]:
        return [item for item in super().to_python(value) if item]


class ChoicesFilter(filters.MultipleChoiceFilter):
    """Narrow to any of several values; `also` are further spellings."""

    field_class = _ChoicesField

    def __init__(
        self, choices: list[tuple[str, str]], *, also: dict[str, str] | None = None, **kwargs: Any
    ) -> None:
        self._also = also or {}
        spellings = [*choices, *((name, name) for name in self._also)]
        super().__init__(choices=spellings, distinct=False, **kwargs)

    def filter(self, qs: QuerySet[Any], value: list[str]) -> QuerySet[Any]:
        if not value:
            return qs
        return qs.filter(
            **{f"{self.field_name}__in": [self._also.get(item, item) for item in value]}
        )


class TextFilter(filters.CharFilter):
    """Narrow by text of bounded length, without NUL (the form field refuses it)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, max_length=SEARCH_LIMIT, **kwargs)


class _FlagField(forms.NullBooleanField):
    def to_python(self, value: Any) -> bool | None:  # type: ignore[override]
        try:
            return _FLAGS[str(value or "").lower()]
        except KeyError:
            raise ValidationError("Say true or false.", code="invalid") from None


# As a query says it; nothing at all is no filter.
_FLAGS = {"": None, "true": True, "1": True, "false": False, "0": False}


class FlagFilter(filters.BooleanFilter):
    """Narrow by true or false; another word is no filter that lets everything through."""

    field_class = _FlagField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, widget=forms.TextInput, **kwargs)


def person_name(path: str) -> Expression:
    """Spell in SQL the name under which people know a user, in small letters."""
    full = Trim(Concat(f"{path}__first_name", Value(" "), f"{path}__last_name"))
    named = NullIf(full, Value(""))
    return Lower(Coalesce(named, F(f"{path}__username"), output_field=TextField()))


def by_name(label: str = "Part of the name.") -> TextFilter:
    """Offer `search` in names, where a list has nothing else to look in."""
    return TextFilter(field_name="name", lookup_expr="icontains", label=label)


class ArchivedFilter(FlagFilter):
    """Show what was put away: `true` only that, else only what is in use."""

    def __init__(self, field_name: str = "archived_at") -> None:
        super().__init__(
            field_name=field_name, lookup_expr="isnull", label="true: only what was put away."
        )

    def filter(self, qs: QuerySet[Any], value: bool | None) -> QuerySet[Any]:
        return qs.filter(**{f"{self.field_name}__isnull": not value})


class OrganizationFilter(ListFilter):
    search = by_name()

    class Meta:
        model = Organization
        fields: list[str] = []


class SiteFilter(ListFilter):
    search = by_name()
    organization = KeyFilter(organization_policy, "organization")
    archived = ArchivedFilter()

    class Meta:
        model = Site
        fields: list[str] = []


class TargetFilter(ListFilter):
    search = by_name()
    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    kind = ChoicesFilter(Target.Kind.choices)
    archived = ArchivedFilter()

    class Meta:
        model = Target
        fields: list[str] = []


class CredentialFilter(ListFilter):
    search = by_name()
    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    kind = ChoicesFilter(Credential.Kind.choices)
    archived = ArchivedFilter()

    class Meta:
        model = Credential
        fields: list[str] = []


class _OfTeam(KeyFilter):
    """Narrow to the people of a team, as members of its organization."""

    def filter(self, qs: QuerySet[Any], value: Team | None) -> QuerySet[Any]:
        if value is None:
            return qs
        return qs.filter(user__groups=value.group_id, organization=value.organization_id)


class MemberFilter(ListFilter):
    search = TextFilter(method="look_for", label="Part of the name, user name or email address.")
    organization = KeyFilter(organization_policy, "organization")
    role = ChoicesFilter(Role.choices)
    team = _OfTeam(team_policy, "user__groups__team")

    class Meta:
        model = Membership
        fields: list[str] = []

    def look_for(
        self, queryset: QuerySet[Membership], name: str, value: str
    ) -> QuerySet[Membership]:
        named = queryset.alias(named=person_name("user"))
        return named.filter(
            Q(named__contains=value.lower())
            | Q(user__username__icontains=value)
            | Q(user__email__icontains=value)
        )


class InvitationFilter(ListFilter):
    search = TextFilter(
        field_name="email", lookup_expr="icontains", label="Part of the email address."
    )
    organization = KeyFilter(organization_policy, "organization")

    class Meta:
        model = Invitation
        fields: list[str] = []


class TeamFilter(ListFilter):
    search = by_name()
    organization = KeyFilter(organization_policy, "organization")

    class Meta:
        model = Team
        fields: list[str] = []
