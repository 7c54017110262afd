"""What a person chose to hear of: one level for each site that they see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from sites.access import grants_of
from sites.access.policy import Person
from sites.models import Role, Site, User
from sites.permissions import site_policy
from sites.problems import Refused

from .models import Subscription
from .news import Level


def sites_of(user: Person) -> QuerySet[Any]:
    """Give the sites in use that the person sees, each with the `level` they chose, or null."""
    chosen = Subscription.objects.filter(user=user.pk, site=OuterRef("pk"))
    sites = site_policy.rows(user, "view", Site.objects.in_use())
    return sites.select_related("organization").annotate(level=Subquery(chosen.values("level")[:1]))


def hears_of_all(user: User, site: Site) -> bool:
    """Say whether who chose nothing for a site hears of its problems: an administrator does, all
    others of their own runs' alone.
    """
    return grants_of(user).roles.get(site.organization_id) == Role.ADMINISTRATOR


def choose(user: User, levels: Mapping[Site, str | None]) -> None:
    """Keep what a person chose for sites that they see; None is the default again.

    Refused 422 for a level that there is not.
    """
    if unknown := {level for level in levels.values() if level} - set(Level.values):
        words = f"“{min(unknown)[:40]}” is none of {', '.join(Level.values)}."
        raise Refused("invalid", words, status=422, errors={"level": [words]})
    dropped = [site.pk for site, level in levels.items() if not level]
    kept = [
        Subscription(user=user, site=site, level=level) for site, level in levels.items() if level
    ]
    with transaction.atomic():
        Subscription.objects.filter(user=user, site__in=dropped).delete()
        Subscription.objects.bulk_create(
            kept, update_conflicts=True, unique_fields=["user", "site"], update_fields=["level"]
        )
