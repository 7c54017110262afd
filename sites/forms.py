"""The forms of the portal's pages about people: their tokens, their roles, who follows them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone

from .filters import person_name
from .models import AccessToken, Membership, Role, User

LASTING = (("30", "30 days"), ("90", "90 days"), ("365", "One year"), ("never", "Until revoked"))


class TokenForm(forms.Form):
    """A name to know the token by, and when it ends by itself."""

    name = forms.CharField(
        label="What it is for",
        max_length=120,
        widget=forms.TextInput(
            attrs={"class": "form-control", "placeholder": "nightly export", "autocomplete": "off"}
        ),
    )
    scope = forms.ChoiceField(
        label="It may",
        choices=AccessToken.Scope.choices,
        initial=AccessToken.Scope.READ,
        widget=forms.Select(attrs={"class": "form-select"}),
    )
    lasts = forms.ChoiceField(
        label="Valid for",
        choices=LASTING,
        initial="90",
        widget=forms.Select(attrs={"class": "form-select"}),
    )

    def expires_at(self) -> datetime | None:
        """Give the instant at which a token made now ends, None where only a person ends it."""
        days = self.cleaned_data["lasts"]
        return None if days == "never" else timezone.now() + timedelta(days=int(days))


class RoleForm(forms.Form):
    """What a member is in the organization."""

    role = forms.ChoiceField(
        label="Role",
        choices=Role.choices,
        widget=forms.Select(attrs={"class": "form-select"}),
        help_text="Administrators manage people, places and agents. Managers see every job, start"
        " it and add some. Members do what their roles on sites and targets allow.",
    )


class _OfPeople(forms.ModelChoiceField):
    """A choice of members, by their names."""

    def label_from_instance(self, obj: Membership) -> str:
        return str(obj.user)


class SuccessorForm(forms.Form):
    """Who takes over what a member leaves behind; without anything to take over it is empty."""

    successor = _OfPeople(
        label="Who takes them over",
        queryset=Membership.objects.none(),
        to_field_name="public_id",
        widget=forms.Select(attrs={"class": "form-select"}),
    )

    def __init__(
        self, *args: Any, members: QuerySet[Membership], needed: bool, by: User, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if not needed:
            del self.fields["successor"]
            return
        field = self.fields["successor"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = members.order_by(person_name("user"), "pk")
        own = members.filter(user=by).values_list("public_id", flat=True).first()
        self.initial.setdefault("successor", own)
