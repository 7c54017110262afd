"""Decides how long a job, a site or an agent may be paused, and what is said of a pause.

While it lasts no agent takes a run of a paused job or at a paused site, and a paused agent takes
none. What runs already goes on. A run that is started meanwhile waits, and its longest wait begins
anew when the pause is over. It ends by itself, or when somebody resumes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

from . import sql
from .models import Pausable, User
from .models.pause import LONGEST_REASON
from .problems import Refused

LONGEST = timedelta(days=366)
COLUMNS = ("paused_until", "pause_reason", "paused_by")


def lasting(alias: str) -> str:
    """The condition that the pause of a row lasts, by the database's clock."""
    return f"{alias}.paused_until > {sql.now()}"


def begin(paused: Pausable, *, until: datetime, reason: str, by: User) -> None:
    """Write a pause, or change the one that lasts. Called inside the caller's transaction.

    Refused 422 by field: a time that is over or more than 366 days away, no reason, one of more
    than 300 characters or more than one line.
    """
    errors: dict[str, list[str]] = {}
    now = timezone.now()
    if until <= now:
        errors["until"] = ["This time is over already."]
    elif until > now + LONGEST:
        errors["until"] = [f"A pause lasts {LONGEST.days} days at the most."]
    reason = reason.strip()
    if not reason:
        errors["reason"] = ["Say why, for those who wonder."]
    elif len(reason) > LONGEST_REASON:
        errors["reason"] = [f"A reason has {LONGEST_REASON} characters at the most."]
    elif not reason.isprintable():
        errors["reason"] = ["Write the reason in one line."]
    if errors:
        said = " ".join(text for texts in errors.values() for text in texts)
        detail = f"“{paused}” was not paused: {said}"
        raise Refused("invalid", detail, status=422, errors=errors)
    _write(paused, until, reason, by)


def end(paused: Pausable) -> bool:
    """End a pause now; False where none lasts. Called inside the caller's transaction.

    The time stays, since the longest wait of its runs begins with it.
    """
    if not paused.is_paused:
        return False
    _write(paused, timezone.now(), "", None)
    return True


def _write(paused: Pausable, until: datetime, reason: str, by: User | None) -> None:
    assert transaction.get_connection().in_atomic_block
    paused.paused_until, paused.pause_reason, paused.paused_by = until, reason, by
    paused.save(update_fields=COLUMNS)


def words(paused: Pausable, *, zone: str = "UTC") -> str:
    """Say until when and why; empty where no pause lasts."""
    if not paused.is_paused or paused.paused_until is None:
        return ""
    return f"paused until {clock(paused.paused_until, zone)}: {paused.pause_reason}"


def clock(until: datetime, zone: str) -> str:
    """Say when a pause is over, in a zone that is named."""
    local = until.astimezone(ZoneInfo(zone))
    return f"{local:%Y-%m-%d %H:%M} ({local.tzname()})"
