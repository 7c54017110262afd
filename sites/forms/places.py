"""The choice of a site for something new: of those where the person may add it."""

from __future__ import annotations

from django import forms
from django.db.models import QuerySet

from ..models import Organization, Site, User
from ..permissions import managed_sites, organization_policy


def offer_sites(
    field: forms.Field, *, user: User, organization: Organization, of_one: str
) -> QuerySet[Site]:
    """Fill a choice of sites with those that the person manages; gives them too.

    Who manages the organization may leave it at all sites, and reads what is true `of_one`.
    """
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = managed_sites(user, organization).order_by("name")
    if organization_policy.allows(user, "manage", organization):
        field.empty_label, field.help_text = "All sites", of_one
    else:
        field.required, field.empty_label = True, None
    return field.queryset
