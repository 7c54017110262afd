"""How sites and targets come to be and change: checked, named once, announced."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from .events import record
from .masking import masked, restored
from .models import Site, Target
from .problems import Refused


def save_site(site: Site, **changes: Any) -> Site:
    """Store a new site or these changes of one. Its zone is fixed once it is stored."""
    _check_in_use(site)
    if site.pk is not None and changes.get("time_zone", site.time_zone) != site.time_zone:
        words = "The time zone of a site is fixed when it is made: its history is told in it."
        raise Refused("invalid", words, status=422, errors={"time_zone": [words]})
    return _save(site, changes)


def save_target(target: Target, **changes: Any) -> Target:
    """Store a new target or these changes of one. A target stays at its site."""
    _check_in_use(target)
    if target.site.archived_at is not None:
        raise Refused("archived", f"Site “{target.site}” is archived; nothing is added there.")
    return _save(target, changes)


def settings_for(
    target: Target, *, address: str | None = None, sent: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Give a target's settings with what `sent` says is hidden put back, to be stored.

    Refused 422 where a stored secret would go to another address along with the target.
    """
    stored = target.settings if target.pk is not None else {}
    moved = target.pk is not None and address is not None and address != target.address
    try:
        return dict(restored(masked(stored) if sent is None else sent, stored, moved=moved))
    except ValueError as error:
        raise Refused(
            "invalid", str(error), status=422, errors={"settings": [str(error)]}
        ) from None


def _check_in_use(place: Site | Target) -> None:
    if place.archived_at is not None:
        kind = place._meta.verbose_name
        raise Refused("archived", f"“{place}” is archived; an archived {kind} is not changed.")


def _save(place: Any, changes: dict[str, Any]) -> Any:
    for name, value in changes.items():
        setattr(place, name, value)
    made = place.pk is None
    place.full_clean(validate_constraints=False)
    target = place if isinstance(place, Target) else None
    try:
        with transaction.atomic():
            place.save(update_fields=None if made else list(changes))
            record(
                f"{place._meta.model_name}.changed",
                place.public_id,
                organization=place.organization,
                site=target.site if target else place,
                target=target,
                data={"name": place.name},
            )
    except IntegrityError:
        # The constraint is the truth: asking before would leave a gap for the other request.
        words = f"There is a {place._meta.verbose_name} “{place.name}” here already."
        raise Refused("name_taken", words, status=422, errors={"name": [words]}) from None
    return place
