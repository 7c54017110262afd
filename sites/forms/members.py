"""The forms about members: the role of one, and who takes over from one who goes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet

from ..filters import person_name
from ..models import Membership, Role, User

ROLES = (
    "Administrators manage people, places and agents. Managers see every job, start it and add"
    " some. Members do what their roles on sites and targets allow."
)


class RoleForm(forms.Form):
    """What a member is in the organization."""

    role = forms.ChoiceField(
        label="Role",
        choices=Role.choices,
        widget=forms.Select(attrs={"class": "form-select"}),
        help_text=ROLES,
    )


class OfPeople(forms.ModelChoiceField):
    """A choice of members, by their names."""

    def label_from_instance(self, obj: Membership) -> str:
        return str(obj.user)


class SuccessorForm(forms.Form):
    """Who takes over what a member leaves behind; without anything to take over it is empty."""

    successor = OfPeople(
        label="Who takes them over",
        empty_label="Choose a member",
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
