"""How an Event is written: in the transaction of what happened, by whoever makes it happen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from .models import Event, Organization, Site, Target, User


def record(
    kind: str,
    subject_id: UUID,
    *,
    organization: Organization,
    site: Site | None = None,
    target: Target | None = None,
    starter: User | None = None,
    data: dict[str, Any] | None = None,
) -> Event:
    """Write that something happened; call inside the transaction that made it so."""
    return Event.objects.create(
        kind=kind,
        subject_id=subject_id,
        organization_id=organization.pk,
        site_id=site.pk if site else None,
        target_id=target.pk if target else None,
        starter_id=starter.pk if starter else None,
        data=data or {},
    )


def access_changed(users: Iterable[User], *, organization: Organization) -> None:
    """Write that what these people may see has changed, which ends their live connections."""
    for user in users:
        record("access.changed", user.public_id, organization=organization)
