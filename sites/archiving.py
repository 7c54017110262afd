"""When a site or target can be put away: never deleted, and not while a run is active there."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.db.models.functions import Now

from .events import record
from .models import Site, Target
from .problems import Refused

Place = Site | Target
# Filled by apps to the right: what is still at work at a place, said as a sentence, or None.
_obstacles: list[Callable[[Place], str | None]] = []


def unless(obstacle: Callable[[Place], str | None]) -> None:
    """Let an app to the right say what is still at work at a place."""
    if obstacle not in _obstacles:
        _obstacles.append(obstacle)


def archive_target(target: Target) -> None:
    """Put a target away; its snapshots, jobs and runs stay. Refused 409 while a run is active."""
    with transaction.atomic():
        # A run that is being made holds its target's key: wait for it, then see it.
        Target.objects.select_for_update().get(pk=target.pk)
        _check(target)
        if Target.objects.filter(pk=target.pk, archived_at=None).update(archived_at=Now()):
            record(
                "target.archived",
                target.public_id,
                organization=target.organization,
                site=target.site,
                target=target,
            )
    target.refresh_from_db()


def archive_site(site: Site) -> None:
    """Put a site away with its targets. Refused 409 while a run is active at it."""
    with transaction.atomic():
        Site.objects.select_for_update().get(pk=site.pk)
        _check(site)
        if Site.objects.filter(pk=site.pk, archived_at=None).update(archived_at=Now()):
            Target.objects.filter(site=site, archived_at=None).update(archived_at=Now())
            record("site.archived", site.public_id, organization=site.organization, site=site)
    site.refresh_from_db()


def _check(place: Place) -> None:
    for obstacle in _obstacles:
        words = obstacle(place)
        if words:
            raise Refused("active_runs", words)
