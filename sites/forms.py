"""The forms of the portal's pages about people: their tokens, their roles, who follows them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from . import passwords
from .access import grantable_places
from .filters import person_name
from .models import AccessToken, Membership, ObjectRole, Organization, Role, Site, Team, User

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


class _OfPeople(forms.ModelChoiceField):
    """A choice of members, by their names."""

    def label_from_instance(self, obj: Membership) -> str:
        return str(obj.user)


class SuccessorForm(forms.Form):
    """Who takes over what a member leaves behind; without anything to take over it is empty."""

    successor = _OfPeople(
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


class InvitationForm(forms.Form):
    """Who is asked to join, as what, and with which role on which sites."""

    email = forms.EmailField(
        label="Email address",
        max_length=254,
        widget=forms.EmailInput(attrs={"class": "form-control", "autocomplete": "off"}),
    )
    role = forms.ChoiceField(
        label="Role",
        choices=Role.choices,
        initial=Role.MEMBER,
        widget=forms.Select(attrs={"class": "form-select"}),
        help_text=ROLES,
    )
    site_role = forms.ChoiceField(
        label="Role on sites",
        choices=[("", "None"), *ObjectRole.choices],
        required=False,
        widget=forms.Select(attrs={"class": "form-select"}),
        help_text="Viewers see the site's jobs and runs, editors run and edit them.",
    )
    sites = forms.ModelMultipleChoiceField(
        label="Sites",
        queryset=Site.objects.none(),
        required=False,
        to_field_name="public_id",
        widget=forms.SelectMultiple(attrs={"class": "form-select"}),
        help_text="Those to which this role is given.",
    )

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["sites"]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        field.queryset = organization.sites.filter(archived_at=None).order_by("name")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if bool(data.get("site_role")) != bool(data.get("sites")):
            raise forms.ValidationError("Choose both a role on sites and the sites, or neither.")
        return data

    def site_roles(self) -> list[tuple[Site, str]]:
        """Give each chosen site with the role there."""
        return [(site, self.cleaned_data["site_role"]) for site in self.cleaned_data["sites"]]


class ForgottenPasswordForm(forms.Form):
    """The address of an account whose password was forgotten."""

    email = forms.EmailField(label="Email address", max_length=254)

    def save(self, request: HttpRequest) -> None:
        """Have the link sent; what is done here is the same whether there is an account or not."""
        passwords.ask_for_link(self.cleaned_data["email"])


class SignUpForm(forms.Form):
    """The name and the password of a person who was invited."""

    first_name = forms.CharField(
        label="First name",
        max_length=150,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "given-name"}),
    )
    last_name = forms.CharField(
        label="Last name",
        max_length=150,
        required=False,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "family-name"}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"class": "form-control", "autocomplete": "new-password"}),
        help_text="At least 12 characters: some words that nobody would guess, for example.",
    )
    again = forms.CharField(
        label="Password again",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"class": "form-control", "autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("password") and data.get("again") and data["password"] != data["again"]:
            self.add_error("again", "This is not the same password.")
        return data


class NameForm(forms.Form):
    """The name of a team."""

    name = forms.CharField(
        label="Name",
        max_length=120,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off"}),
    )


class TeamMemberForm(forms.Form):
    """Who comes into a team: members of its organization who are not in it."""

    member = _OfPeople(
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
