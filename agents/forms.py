"""The form of a new agent: its name, its site, how many runs at a time."""

from django import forms

from sites.models import Organization, Site, User
from sites.permissions import organization_policy, site_policy


def may_add_agents(user: User, organization: Organization) -> bool:
    """Say whether the person may add an agent anywhere in the organization."""
    sites = organization.sites.filter(archived_at__isnull=True)
    return (
        organization_policy.allows(user, "manage", organization)
        or site_policy.rows(user, "manage", sites).exists()
    )


class AgentForm(forms.Form):
    """Where an agent works and under which name; only places where the person may add one."""

    name = forms.CharField(
        label="Name",
        max_length=120,
        widget=forms.TextInput(attrs={"class": "form-control", "placeholder": "north-agent-01"}),
    )
    site = forms.ModelChoiceField(
        label="Site",
        queryset=Site.objects.none(),
        required=False,
        to_field_name="public_id",
        widget=forms.Select(attrs={"class": "form-select"}),
    )
    slots = forms.IntegerField(
        label="Runs at a time",
        min_value=1,
        max_value=64,
        initial=2,
        widget=forms.NumberInput(attrs={"class": "form-control"}),
    )

    def __init__(
        self, *args: object, user: User, organization: Organization, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["site"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = site_policy.rows(
            user, "manage", organization.sites.filter(archived_at__isnull=True)
        ).order_by("name")
        self.everywhere = organization_policy.allows(user, "manage", organization)
        if self.everywhere:
            field.empty_label = "All sites"
            field.help_text = "An agent of one site never runs another site's jobs."
        else:
            field.required, field.empty_label = True, None
        some = [] if self.is_bound else list(field.queryset[:2])
        if len(some) == 1:
            self.initial.setdefault("site", some[0].public_id)
