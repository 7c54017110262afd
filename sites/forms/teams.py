"""The forms about teams: the name of one, who comes into it, and its roles."""

from __future__ import annotations

from typing import Any

from django import forms

from ..access import grantable_places
from ..filters import person_name
from ..models import Membership, ObjectRole, Team
from .members import OfPeople


class NameForm(forms.Form):
    """The name of a team."""

    name = forms.CharField(
        label="Name",
        max_length=120,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off"}),
    )


class TeamMemberForm(forms.Form):
    """Who comes into a team: members of its organization who are not in it."""

    member = OfPeople(
        label="Member",
        empty_label="Choose a member",
        queryset=Membership.objects.none(),
        to_field_name="public_id",
        widget=forms.Select(attrs={"class": "form-select"}),
    )

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["member"]
        assert isinstance(field, forms.ModelChoiceField)
        members = Membership.objects.filter(organization=team.organization).select_related("user")
        others = members.exclude(user__groups=team.group_id)
        field.queryset = others.order_by(person_name("user"), "pk")


class TeamRoleForm(forms.Form):
    """Which role a team has on a site, target or pool."""

    place = forms.ChoiceField(label="On", widget=forms.Select(attrs={"class": "form-select"}))
    role = forms.ChoiceField(
        label="Role",
        choices=[*ObjectRole.choices, ("", "No role: take it away")],
        initial=ObjectRole.VIEWER,
        required=False,
        widget=forms.Select(attrs={"class": "form-select"}),
        help_text="A pool can be chosen for jobs by its editors.",
    )

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.places = {
            f"{kind}:{place.public_id}": place
            for kind, places in grantable_places(team.organization).items()
            for place in places
        }
        groups: dict[str, list[tuple[str, str]]] = {}
        for key, place in self.places.items():
            kind = str(place._meta.verbose_name_plural).capitalize()
            groups.setdefault(kind, []).append((key, str(place)))
        field = self.fields["place"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = list(groups.items())

    def clean_place(self) -> Any:
        return self.places[self.cleaned_data["place"]]
