"""The forms of a new agent and of a pool: what people say of them."""

from typing import Any

from django import forms
from django.contrib.auth.models import Group

from sites.access import groups_for, name_of
from sites.forms.places import offer_sites
from sites.models import Organization, Site, User

from .models import Agent, AgentPool
from .permissions import agent_policy
from .pools import choosers_of


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
        sites = offer_sites(
            self.fields["site"],
            user=user,
            organization=organization,
            of_one="An agent of one site never runs another site's jobs.",
        )
        some = [] if self.is_bound else list(sites[:2])
        if len(some) == 1:
            self.initial.setdefault("site", some[0].public_id)


class _Named(forms.ModelMultipleChoiceField):
    """Some of a list that is shown whole, each with a box to tick."""

    widget = forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"})

    def label_from_instance(self, obj: object) -> str:
        if isinstance(obj, Agent):
            return f"{obj.name} ({obj.site.name if obj.site else 'all sites'})"
        if isinstance(obj, User) and str(obj) != obj.get_username():
            return f"{obj} ({obj.get_username()})"
        return name_of(obj) if isinstance(obj, User | Group) else str(obj)


class PoolForm(forms.Form):
    """A pool: its name, the agents in it, and whether it is for everyone or for some."""

    name = forms.CharField(
        label="Name",
        max_length=120,
        widget=forms.TextInput(attrs={"class": "form-control", "placeholder": "Press lines"}),
    )
    agents = _Named(
        label="Agents", queryset=Agent.objects.none(), required=False, to_field_name="public_id"
    )
    restricted = forms.BooleanField(
        label="Restricted: only those named below may choose it",
        required=False,
        widget=forms.CheckboxInput(attrs={"class": "form-check-input"}),
        help_text="Its agents then take no automatic runs, and none of a pool that is open.",
    )
    people = _Named(
        label="Who may choose it",
        queryset=User.objects.none(),
        required=False,
        to_field_name="public_id",
    )
    groups = _Named(label="Teams that may choose it", queryset=Group.objects.none(), required=False)

    def __init__(
        self,
        *args: object,
        user: User,
        organization: Organization,
        pool: AgentPool | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        in_use = Agent.objects.in_use().filter(organization=organization).select_related("site")
        self._offer("agents", agent_policy.rows(user, "view", in_use).order_by("name"))
        members = User.objects.filter(memberships__organization=organization, is_active=True)
        choosers = choosers_of(pool) if pool else []
        groups = groups_for(pool or AgentPool(organization=organization), by=user)
        self._offer("people", members.order_by("first_name", "username"))
        self._offer("groups", groups)
        if not groups.exists():
            del self.fields["groups"]
        if pool is not None:
            known = {
                "name": pool.name,
                "restricted": pool.restricted,
                "agents": pool.agents.all(),
                "people": [who for who in choosers if isinstance(who, User)],
                "groups": [who for who in choosers if isinstance(who, Group)],
            }
            for name, value in known.items():
                self.initial.setdefault(name, value)

    def _offer(self, name: str, rows: object) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        field.queryset = rows  # type: ignore[assignment]

    def said(self) -> dict[str, Any]:
        """Give what the rule takes."""
        data = self.cleaned_data
        return {
            "name": data["name"],
            "restricted": data["restricted"],
            "agents": list(data["agents"]),
            "choosers": [*data["people"], *data.get("groups", ())],
        }
