"""Decides how the portal is doing: what is late, how much disk is left, who waits longest.

One place for the page Health, the banner on all others, and the monitor outside.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F, Min
from django.db.models.functions import Now
from django.utils import timezone

from config.disks import Disk, fullest
from jobs.models import JobRun
from jobs.states import Status
from jobs.sweeps import MASS_LOSS
from notifications import lag
from sites import pulse, ticks
from sites.models import Event, Organization, Pulse
from sites.templatetags.portal import many

# What was interrupted is told of for so long.
TOLD_FOR = timedelta(days=1)
_INTERRUPTED = {
    pulse.SERVING: "The portal answered no agents until then; nobody is called lost for it.",
    pulse.SWEEPING: "Nobody looked for runs to end until then.",
}


@dataclass(frozen=True, slots=True)
class Work:
    """Something that repeats; `age_s` is None where it was never done, or nobody knows when."""

    name: str
    does: str
    age_s: float | None
    late: bool
    late_after_s: int

    @property
    def waits(self) -> bool:
        """Whether it was not done for too long, and this process was not there to see it."""
        return not self.late and (self.age_s is None or self.age_s > self.late_after_s)

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.name.replace("_", " ").capitalize()


def work() -> list[Work]:
    """Give all that repeats, with its age."""
    ages = ticks.ages()
    late = ticks.late(ages, watched_s=ticks.watched_s())
    return [
        Work(name, tick.does, ages.get(name), name in late, tick.late_after_s)
        for name, tick in ticks.TICKS.items()
    ]


def database_answers() -> bool:
    """Ask the database for nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def database_s() -> float:
    """Ask the database for nothing; gives how long it took."""
    begun = time.perf_counter()
    database_answers()
    return time.perf_counter() - begun


def database_name() -> str:
    """Which kind of database it is."""
    return "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What people are to be told and were not yet: for how long, None where nothing waits."""

    age_s: float | None
    late: bool


def deliveries() -> Waiting:
    """Look at what waits to be told."""
    age_s = lag.oldest_waiting_s()
    return Waiting(age_s, lag.is_late(age_s, watched_s=ticks.watched_s()))


def amiss(works: Collection[Work], least: Disk, waiting: Waiting) -> list[str]:
    """Say what somebody should look at, a sentence each; nothing when all is well."""
    late = [one.title for one in works if one.late] + ["Deliveries"] * waiting.late
    said = [f"Late: {', '.join(late)}."] if late else []
    if least.state != "ok":
        said.append(f"The disk has {least} left.")
    return said


def unserved_s() -> float | None:
    """For how long no web process has answered agents; None while one does, or none ever did."""
    found = Pulse.objects.filter(name=pulse.SERVING).values_list(Now() - F("noted_at"), flat=True)
    silent = found.first()
    if silent is None or silent < timedelta(seconds=2 * pulse.GAP_S):
        return None
    return silent.total_seconds()


def look() -> list[str]:
    """Look at what all pages and the monitor outside are told of, and give it.

    That nobody serves pages is for the monitor alone.
    """
    said = amiss(work(), fullest(), deliveries())
    if unserved := unserved_s():
        said.append(f"No web process has answered agents for {unserved / 60:.0f} min.")
    return said


def oldest_pending_s() -> float | None:
    """Give for how long the run has waited that waits longest; None where none does."""
    rows = JobRun.objects.filter(status=Status.PENDING)
    found = rows.aggregate(oldest=Min("created_at"), now=Min(Now()))
    if found["oldest"] is None:
        return None
    return max((found["now"] - found["oldest"]).total_seconds(), 0.0)


def oldest_pending(organizations: frozenset[int] | None) -> JobRun | None:
    """Give the run that waits longest in these organizations, or (None) in all."""
    runs = JobRun.objects.filter(status=Status.PENDING)
    if organizations is not None:
        runs = runs.filter(organization__in=organizations)
    # Ids are in the order in which runs are made, and so is the index of what is active.
    return runs.select_related("organization", "site").order_by("id").first()


@dataclass(frozen=True, slots=True)
class Interruption:
    """What was not as it should be in the last day, and when that was."""

    words: str
    at: datetime


def interruptions(organizations: frozenset[int] | None) -> list[Interruption]:
    """Give the newest of each kind, the newest first; of agents, those of these organizations."""
    since = timezone.now() - TOLD_FOR
    pulses = {one.name: one for one in Pulse.objects.all()}
    found = [
        Interruption(words, at)
        for name, words in _INTERRUPTED.items()
        if name in pulses and (at := pulses[name].resumed_at) is not None and at > since
    ]
    if MASS_LOSS in pulses and pulses[MASS_LOSS].noted_at > since:
        found += _mass_loss(organizations, since)
    return sorted(found, key=lambda one: one.at, reverse=True)


def _mass_loss(organizations: frozenset[int] | None, since: datetime) -> list[Interruption]:
    """Give the newest alert with the agents of these organizations, if any of them was told."""
    told = Organization.objects.all()
    if organizations is not None:
        told = told.filter(pk__in=organizations)
    # By subject, which is in an index. There are few; those of one alert are of one moment.
    alerts = list(
        Event.objects.filter(
            subject_id__in=told.values("public_id"), kind=MASS_LOSS, at__gt=since
        ).values_list("at", "data")
    )
    if not alerts:
        return []
    newest = max(at for at, _ in alerts)
    agents = sum(data["agents"] for at, data in alerts if newest - at < timedelta(seconds=5))
    return [Interruption(f"{many(agents, 'agent')} with runs fell silent at once.", newest)]
