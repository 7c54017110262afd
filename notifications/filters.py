"""Which parameters narrow the list of notifications."""

from __future__ import annotations

from django.db.models import QuerySet

from sites.filters import ChoicesFilter, FlagFilter, KeyFilter, ListFilter, TimeFilter, by_name
from sites.models import Site
from sites.permissions import organization_policy, site_policy

from .models import Notification
from .news import News


class NotificationFilter(ListFilter):
    """Narrows what a person was told."""

    unread = FlagFilter(method="read_or_not", label="true: only what you have not read.")
    news = ChoicesFilter(News.choices)
    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    after = TimeFilter(field_name="at", lookup_expr="gte", label="Told at or after this instant.")
    before = TimeFilter(field_name="at", lookup_expr="lt", label="Told before this instant.")

    class Meta:
        model = Notification
        fields: list[str] = []

    def read_or_not(
        self, queryset: QuerySet[Notification], name: str, value: bool
    ) -> QuerySet[Notification]:
        return queryset.filter(read_at__isnull=value)


class SubscriptionFilter(ListFilter):
    """Narrows the sites of which a person may hear."""

    search = by_name("Part of the site's name.")
    organization = KeyFilter(organization_policy, "organization")

    class Meta:
        model = Site
        fields: list[str] = []
