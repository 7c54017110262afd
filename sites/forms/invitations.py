"""The form of an invitation, and which roles on sites it gives."""

from __future__ import annotations

from typing import Any

from django import forms

from ..models import ObjectRole, Organization, Role, Site
from .members import ROLES


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
