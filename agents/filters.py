"""Which parameters narrow the lists of agents, pools and functions."""

from __future__ import annotations

from django.db.models import QuerySet

from sites.filters import (
    ArchivedFilter,
    ChoicesFilter,
    FlagFilter,
    KeyFilter,
    ListFilter,
    TextFilter,
    by_name,
)
from sites.permissions import organization_policy, site_policy

from .models import Agent, AgentPool, Function

STATES = [
    ("setting_up", "Setting Up"),
    ("active", "Active"),
    ("disconnected", "Disconnected"),
    ("draining", "Draining"),
    ("retired", "Retired"),
]


class AgentFilter(ListFilter):
    search = by_name()
    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    state = ChoicesFilter(STATES, field_name="state")
    retired = ArchivedFilter("retired_at")

    class Meta:
        model = Agent
        fields: list[str] = []


class PoolFilter(ListFilter):
    search = by_name()
    organization = KeyFilter(organization_policy, "organization")
    archived = ArchivedFilter()

    class Meta:
        model = AgentPool
        fields: list[str] = []


class FunctionFilter(ListFilter):
    organization = KeyFilter(organization_policy, "organization")
    tool = TextFilter(field_name="tool__name", label="Name of the tool.")
    name = TextFilter(field_name="name", label="Name of the function.")
    current = FlagFilter(method="advertised", label="Only functions that an agent in use has now.")

    class Meta:
        model = Function
        fields: list[str] = []

    def advertised(
        self, queryset: QuerySet[Function], name: str, value: bool
    ) -> QuerySet[Function]:
        now = Function.objects.filter(versions__agents__retired_at=None, versions__agents__gt=0)
        return queryset.filter(pk__in=now.values("pk")) if value else queryset
