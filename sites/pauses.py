"""Decides how long a job, a site or an agent may be paused, and what is said of a pause.

While it lasts no agent takes a run of a paused job or at a paused site, and a paused agent takes
none. What runs already goes on. A run that is started meanwhile waits; where its job, its site or
the one agent that it is for is paused, its longest wait begins anew when the pause is over. A pause
ends by itself, or when somebody resumes. The database's clock says which one lasts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.db.models.functions import Now

from . import sql
from .models import Pausable, User
from .models.pause import LONGEST_REASON
from .problems import Refused

LONGEST = timedelta(days=366)
COLUMNS = ("paused_until", "pause_reason", "paused_by")
SAY_WHY = "Say why, for those who wonder."
_BREAKING = {"Cc", "Zl", "Zp"}  # control characters, line and paragraph separators
# They turn the direction of the text around them, so that it reads as something else.
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

P = TypeVar("P", bound=Pausable)


def lasting(alias: str) -> str:
    """The condition that the pause of a row lasts, for a hand-written statement; never null."""
    return f"({alias}.paused_until IS NOT NULL AND {alias}.paused_until > {sql.now()})"


def begin(paused: P, *, until: datetime, reason: str, by: User, check: Callable[[P], None]) -> None:
    """Pause a job, site or agent, or change the pause that lasts. Inside the caller's transaction.

    `check` is given the row as it is stored, and held: it refuses what was put away. Refused 422 by
    field: a time that is over or more than 366 days away, no reason, one of more
    than 300 characters or of more than one line.
    """
    held = _locked(paused)
    check(held)
    errors: dict[str, list[str]] = {}
    if until <= held.at:
        errors["until"] = ["This time is over already."]
    elif until > held.at + LONGEST:
        errors["until"] = [f"A pause lasts {LONGEST.days} days at the most."]
    reason = reason.strip()
    if not reason:
        errors["reason"] = [SAY_WHY]
    elif len(reason) > LONGEST_REASON:
        errors["reason"] = [f"A reason has {LONGEST_REASON} characters at the most."]
    elif _is_odd(reason):
        errors["reason"] = ["Write the reason as one line of plain text."]
    if errors:
        raise refusal(held, errors)
    _write(held, paused, until, reason, by)


def refusal(paused: Pausable, errors: dict[str, list[str]]) -> Refused:
    """Make a refusal of what speaks against a pause, by field."""
    said = " ".join(text for texts in errors.values() for text in texts)
    return Refused("invalid", f"“{paused}” was not paused: {said}", status=422, errors=errors)


def end(paused: Pausable) -> bool:
    """End a pause now; False where none lasts. Inside the caller's transaction.

    The time stays, since the longest wait of its runs begins with it.
    """
    held = _locked(paused)
    if held.paused_until is None or held.paused_until <= held.at:
        return False
    _write(held, paused, held.at, "", None)
    return True


def _locked(paused: P) -> P:
    """Read the row anew and hold it, with the database's time as `at`."""
    rows = type(paused)._default_manager.select_for_update(no_key=True, of=("self",))
    found: P = rows.annotate(at=Now()).get(pk=paused.pk)
    return found


def _is_odd(reason: str) -> bool:
    return any(unicodedata.category(char) in _BREAKING or char in _TURNING for char in reason)


def _write(held: Pausable, paused: Pausable, until: datetime, reason: str, by: User | None) -> None:
    for row in (held, paused):
        row.paused_until, row.pause_reason, row.paused_by = until, reason, by
    held.save(update_fields=COLUMNS)


def zone_of(paused: Pausable | None) -> str:
    """Give the zone in which a pause is told and typed: its site's, UTC where it has none."""
    site: Any = getattr(paused, "site", paused)
    return site.time_zone if site else "UTC"


def words(paused: Pausable, *, zone: str, why: bool = True) -> str:
    """Say of what is paused until when, and `why` to whom may see it."""
    assert paused.paused_until is not None
    until = f"paused until {clock(paused.paused_until, zone)}"
    return f"{until}: {paused.pause_reason.rstrip('.')}" if why else until


def clock(until: datetime, zone: str) -> str:
    """Say when a pause is over, in a zone that is named."""
    local = until.astimezone(ZoneInfo(zone))
    return f"{local:%Y-%m-%d %H:%M} ({local.tzname()})"
