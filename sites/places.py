"""How sites and targets come to be and change: checked, named once, announced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from . import credentials, pauses
from .events import record
from .masking import NotRestored, addresses, masked, moved, restored
from .models import Organization, Site, Target, User
from .naming import some_of
from .problems import Refused


def keep(organization: Organization, **days: int | None) -> Organization:
    """Store how long an organization keeps its runs and what they left (`keep_…_days`)."""
    for name, number in days.items():
        setattr(organization, name, number)
    organization.full_clean(validate_constraints=False)
    organization.save(update_fields=list(days))
    return organization


def save_site(site: Site, **changes: Any) -> Site:
    """Store a new site or these changes of one. Its zone is fixed once it is stored."""
    _check_in_use(site)
    if site.pk is not None and changes.get("time_zone", site.time_zone) != site.time_zone:
        words = "The time zone of a site is fixed when it is made: its history is told in it."
        raise Refused("invalid", words, status=422, errors={"time_zone": [words]})
    return _save(site, changes)


def pause_site(site: Site, *, until: datetime, reason: str, by: User) -> None:
    """Let no agent take a run at a site until a time. The door has asked for "manage"."""
    with transaction.atomic():
        pauses.begin(site, until=until, reason=reason, by=by, check=_check_in_use)
        _tell(site)


def resume_site(site: Site) -> None:
    """End the pause of a site before its time; nothing happens where none lasts."""
    with transaction.atomic():
        if pauses.end(site):
            _tell(site, queues={pk: number for ask in _waits for pk, number in ask(site).items()})


# Filled by apps to the right: how many runs wait for a site in which queues.
_waits: list[Callable[[Site], dict[int, int]]] = []


def waits(ask: Callable[[Site], dict[int, int]]) -> None:
    """Let an app to the right say in which queues runs wait for a site, to wake who takes them."""
    if ask not in _waits:
        _waits.append(ask)


class Holder(NamedTuple):
    """What an app to the right keeps that goes to a target's address along with its runs.

    `words` says who holds secrets for the present address, or None; with `cleared` only those that
    `clear` does not take away. `clear` takes a target's stored secrets away.
    """

    words: Callable[[Target, bool], str | None]
    clear: Callable[[Target], None]


# Filled by apps to the right.
_holders: list[Holder] = []


def keeps_secrets(holder: Holder) -> None:
    """Let an app to the right say what secrets it keeps for the addresses of targets."""
    if holder not in _holders:
        _holders.append(holder)


# Of an address in its settings so many characters say where a target stands.
_LONGEST = 60


def where_it_stands(target: Target) -> str:
    """Say in a line where a target's secrets go: its address, and the places that its settings
    name. `moved_at` of the target is when any of them last became another one.
    """
    inside = [
        f"{name} {text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}"
        for name, text in addresses(target.settings).items()
    ]
    if not inside:
        return target.address
    return f"{target.address}; settings: {some_of(inside)}"


def save_target(
    target: Target,
    *,
    clear_secrets: bool = False,
    expected: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Target:
    """Store a new target or these changes of one. A target stays at its site.

    Refused 409 where a column is not as `expected`: as the person saw it when they decided.

    What the settings say is hidden is put back. Refused 422 where a secret would go to another
    address: one that is stored in the settings and not given anew, one that a job or run holds, or
    the target's credential, where the changes do not name one (or None) for the new address.
    With `clear_secrets` those of the jobs are taken away in the same transaction.

    Locks the jobs before the target, as who starts a run does; the target's row before anything
    is read of it, so that of two editors each sees what the other did.
    """
    if target._state.adding:
        _check_in_use(target)
        _check_site(target)
        target.settings = _restored(target.settings, {}, "")
        with transaction.atomic():
            if target.credential is not None:
                credentials.usable_at(target, target.credential, address=target.address)
            return _save(target, changes)
    with transaction.atomic():
        if clear_secrets:
            for holder in _holders:
                holder.clear(target)
        stored = Target.objects.select_for_update(of=("self",)).select_related("site")
        locked = stored.get(pk=target.pk)
        if any(getattr(locked, name) != value for name, value in (expected or {}).items()):
            words = f"“{locked}” was changed by somebody meanwhile. Look at it again, then decide."
            raise Refused("changed", words)
        where = _moved(locked, changes, cleared=clear_secrets)
        if changes.get("credential") is not None:
            address = changes.get("address", locked.address)
            credentials.usable_at(target, changes["credential"], address=address)
        _save(target, changes)
        if where:
            Target.objects.filter(pk=target.pk).update(moved_at=Now())
            target.refresh_from_db(fields=["moved_at"])
    return target


def check_target(target: Target, *, clear_secrets: bool = False, **changes: Any) -> None:
    """Say beforehand what `save_target` would refuse of these changes, for a form."""
    if target._state.adding:
        _restored(changes.get("settings") or {}, {}, "")
    else:
        _moved(Target.objects.get(pk=target.pk), changes, cleared=clear_secrets)


def _moved(stored: Target, changes: dict[str, Any], *, cleared: bool) -> str:
    """Put back the hidden settings among the changes; name what says where the target is and is
    another by them, after asking all who hold secrets for the present address.
    """
    _check_in_use(stored)
    _check_site(stored)
    where = "address" if changes.get("address", stored.address) != stored.address else ""
    sent = changes.get("settings")
    settings = _restored(masked(stored.settings) if sent is None else sent, stored.settings, where)
    if sent is not None:
        changes["settings"] = settings
    inside = moved(settings, stored.settings)
    if where or inside:
        if stored.credential_id is not None and "credential" not in changes:
            words = (
                f"Credential “{stored.credential}” was put here for the present address, and goes"
                " to no other one by itself: take it off along with this change, or name the one"
                " for the new address, as who may manage credentials can."
            )
            field = where or "settings"
            raise Refused("invalid", words, status=422, errors={field: [words]})
        for holder in _holders:
            if held := holder.words(stored, cleared):
                field = where or "settings"
                raise Refused("invalid", held, status=422, errors={field: [held]})
    return where or inside


def _restored(sent: dict[str, Any], stored: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        return dict(restored(sent, stored, where=where))
    except NotRestored as error:
        words = str(error)
        raise Refused("invalid", words, status=422, errors={"settings": [words]}) from None


def _check_site(target: Target) -> None:
    if target.site.archived_at is not None:
        raise Refused("archived", f"Site “{target.site}” is archived; nothing is added there.")


def _check_in_use(place: Site | Target) -> None:
    if place.archived_at is not None:
        kind = place._meta.verbose_name
        raise Refused("archived", f"“{place}” is archived; an archived {kind} is not changed.")


def _save(place: Any, changes: dict[str, Any]) -> Any:
    for name, value in changes.items():
        setattr(place, name, value)
    made = place.pk is None
    place.full_clean(validate_constraints=False)
    try:
        with transaction.atomic():
            place.save(update_fields=None if made else list(changes))
            _tell(place)
    except IntegrityError:
        # The constraint is the truth: asking before would leave a gap for the other request.
        words = f"There is a {place._meta.verbose_name} “{place.name}” here already."
        raise Refused("name_taken", words, status=422, errors={"name": [words]}) from None
    return place


def _tell(place: Site | Target, **data: Any) -> None:
    """Write the Event of a change, in the caller's transaction."""
    record(
        f"{place._meta.model_name}.changed",
        place.public_id,
        organization=place.organization,
        site=place if isinstance(place, Site) else place.site,
        target=place if isinstance(place, Target) else None,
        data={"name": place.name} | data,
    )
