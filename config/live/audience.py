"""Decides who hears of an Event: set membership over what the person was given at connect.

It says for one Event what the policies say for the object it is about (`jobs/permissions.py`,
`agents/permissions.py`, `sites/permissions.py`); a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.http import Http404

from sites.access.grants import grants_of
from sites.models import Event, Organization, Role, Target, User


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One person at one page, as ids."""

    user_id: int
    public_id: UUID
    superuser: bool
    # The organizations that the stream is about; None for a superuser's, which is about all.
    organizations: frozenset[int] | None
    administers: frozenset[int]
    manages: frozenset[int]  # administrators are managers too
    sites: frozenset[int]
    targets: frozenset[int]
    agents_at: frozenset[int]  # granted sites, and those at which a granted target stands


def subscriber_of(user: User, organization: UUID | None = None) -> Subscriber:
    """Read what decides for this person, all of it or within one organization.

    Http404 for an organization in which the person is not.
    """
    grants = grants_of(user)
    organizations: frozenset[int] | None = None if grants.superuser else grants.organizations()
    if organization is not None:
        pk = (
            Organization.objects.filter(public_id=organization).values_list("pk", flat=True).first()
        )
        if pk is None or (organizations is not None and pk not in organizations):
            raise Http404
        organizations = frozenset({pk})
    sites, targets = grants.objects("site", "view"), grants.objects("target", "view")
    stands_at = Target.objects.filter(pk__in=targets).values_list("site_id", flat=True)
    return Subscriber(
        user_id=user.pk,
        public_id=user.public_id,
        superuser=grants.superuser,
        organizations=organizations,
        administers=grants.organizations(Role.ADMINISTRATOR),
        manages=grants.organizations(Role.ADMINISTRATOR, Role.MANAGER),
        sites=sites,
        targets=targets,
        agents_at=sites | frozenset(stands_at) if targets else sites,
    )


def hears(who: Subscriber, event: Event) -> bool:
    """Say whether this person may hear of the Event."""
    if who.organizations is not None and event.organization_id not in who.organizations:
        return False
    if who.superuser or event.organization_id in who.administers:
        return True
    family = event.kind.partition(".")[0]
    if family == "agent":
        return event.organization_id in who.manages or event.site_id in who.agents_at
    if event.site_id in who.sites or event.target_id in who.targets:
        return True
    if family == "job":
        return event.organization_id in who.manages
    # Runs, and what a kind that is not known here may be about: the strictest rule.
    return event.starter_id == who.user_id
