"""Decides when a schedule starts: one function for the preview, the pages and the planner.

A schedule is a pattern of wall-clock times in its site's zone. `cronsim` finds the times; what
becomes of them where the clocks change is decided here (`_moments`), since there a time may not
exist, or exist twice.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from django.db import models

from sites.problems import Refused


class Kind(models.TextChoices):
    """How the times are said."""

    NONE = "", "Only on demand"
    DAILY = "daily", "Every day"
    WORKDAYS = "workdays", "Monday to Friday"
    WEEKLY = "weekly", "On chosen days"
    CRON = "cron", "Cron expression"
    SITE = "site", "With the site's schedule"


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHOWN = 5  # starts that a preview shows
LONGEST_CRON = 100
NO_SUCH_DAY = "This expression never matches: there is no such day."
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A pattern of times in a zone. Two that are equal start at the same moments."""

    kind: str
    at: time | None = None  # of daily, workdays and weekly
    days: tuple[str, ...] = ()  # of weekly, among DAYS
    cron: str = ""  # five fields
    zone: str = "UTC"


class Start(NamedTuple):
    """A moment at which a schedule starts; the note says what the clocks do to it."""

    at: datetime  # UTC
    note: str


def of(planned: Any, zone: str) -> Schedule:
    """Give the schedule of what has its columns: a job, a site's schedule, a row of one."""
    return Schedule(
        planned.schedule_kind,
        planned.schedule_time,
        tuple(planned.schedule_days),
        planned.schedule_cron,
        zone,
    )


def starts(
    schedule: Schedule, *, after: datetime, delay: timedelta = timedelta()
) -> Iterator[Start]:
    """Give the starts of a schedule that lie after a moment, in their order, without end.

    Ends where a cron expression matches no more within 50 years. `delay` is added to each: that of
    `delay_of`. Refused 422 as `check` says.
    """
    for found, note in _moments(_pattern(schedule), schedule.zone, after - delay):
        yield Start(found + delay, note)


def next_start(
    schedule: Schedule, *, after: datetime, delay: timedelta = timedelta()
) -> datetime | None:
    """Give the first start after a moment; None where there is none."""
    # Thousands of jobs start by the same few patterns, so that what is found serves them all.
    found = _first(schedule, after - delay)
    return found + delay if found else None


@lru_cache(maxsize=4096)
def _first(schedule: Schedule, after: datetime) -> datetime | None:
    return next((start.at for start in starts(schedule, after=after)), None)


def delay_of(job: UUID, spread_s: int) -> timedelta:
    """Give how much later than its pattern says a job starts: always the same, by its id.

    Jobs that share a time and an agent are spread over `spread_s` seconds, each at its own place.
    """
    return timedelta(seconds=zlib.crc32(job.bytes) % (spread_s + 1))


def check(schedule: Schedule) -> None:
    """Refuse a schedule that says no time, or that never starts (422, by field)."""
    if next(starts(schedule, after=datetime.now(UTC)), None) is None:
        raise _refused("cron", NO_SUCH_DAY)


def reading(schedule: Schedule) -> str:
    """Say the times in words, without the zone."""
    at = f"{schedule.at:%H:%M}" if schedule.at else ""
    match schedule.kind:
        case Kind.DAILY:
            return f"Every day at {at}"
        case Kind.WORKDAYS:
            return f"Monday to Friday at {at}"
        case Kind.WEEKLY:
            names = [NAMES[DAYS.index(day)] + "s" for day in sorted(schedule.days, key=DAYS.index)]
            return f"{_and(names)} at {at}"
        case Kind.CRON:
            said: str = _cron(schedule.cron).explain()
            return said
        case Kind.SITE:
            return Kind.SITE.label
        case _:
            return Kind.NONE.label


def preview(schedule: Schedule, *, after: datetime, delay: timedelta = timedelta()) -> list[Start]:
    """Give the next five starts."""
    return list(islice(starts(schedule, after=after, delay=delay), SHOWN))


def _refused(field: str, words: str) -> Refused:
    return Refused("invalid", words, status=422, errors={field: [words]})


def _pattern(schedule: Schedule) -> str:
    """Say a schedule as a cron expression; every kind then goes the same way."""
    if schedule.kind == Kind.CRON:
        _cron(schedule.cron)
        return schedule.cron
    if schedule.kind not in (Kind.DAILY, Kind.WORKDAYS, Kind.WEEKLY):
        raise _refused("kind", "Say how it repeats: daily, workdays, weekly or cron.")
    if schedule.at is None:
        raise _refused("time", "Say the time of day, such as 02:00.")
    days = {Kind.DAILY: "*", Kind.WORKDAYS: "1-5"}.get(Kind(schedule.kind))
    if days is None:
        if not schedule.days or not all(day in DAYS for day in schedule.days):
            raise _refused("days", f"Choose at least one day among {', '.join(DAYS)}.")
        days = ",".join(str(DAYS.index(day) + 1) for day in schedule.days)
    return f"{schedule.at.minute} {schedule.at.hour} * * {days}"


def _cron(expression: str) -> CronSim:
    fields = len(expression.split())
    if fields != 5:
        words = (
            f"A cron expression has five fields, as in “30 2 * * mon-fri”; this one has {fields}."
        )
        raise _refused("cron", words)
    if len(expression) > LONGEST_CRON:
        raise _refused("cron", f"A cron expression has at most {LONGEST_CRON} characters.")
    try:
        return CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001 (wall-clock time)
    except CronSimError as error:
        words = f"Not a cron expression: {str(error)[0].lower()}{str(error)[1:]}."
        if _has_no_day(expression):
            words = NO_SUCH_DAY
        raise _refused("cron", words) from None


def _has_no_day(expression: str) -> bool:
    """Say whether it is only that its months have no such day, which cronsim calls a bad day."""
    minute, hour, day, month, weekday = expression.split()
    for fields in (f"{minute} {hour} {day} * {weekday}", f"* * * {month} *"):
        try:
            CronSim(fields, datetime(2000, 1, 1))  # noqa: DTZ001 (wall-clock time)
        except CronSimError:
            return False
    return True


def _moments(pattern: str, name: str, after: datetime) -> Iterator[tuple[datetime, str]]:
    """Give the moments (UTC) of a pattern in a zone, each later than the one before, with a note.

    A time of day that the clocks leave out starts once, at the first minute after the gap; one
    that they show twice starts once, at the first. Patterns whose minute or hour begins with `*`
    go by the time that passes: they leave out what the clocks leave out, and where the clocks go
    back they start both times. As Debian's cron has it.
    """
    zone = ZoneInfo(name)
    minute, hour, *_ = pattern.split()
    repeats = minute.startswith("*") or hour.startswith("*")
    again: list[datetime] = []  # the second showing of times that come twice, still ahead
    last = after
    # Without the zone: cronsim itself loses starts where the clocks change by half an hour.
    for wall in CronSim(pattern, _wall_before(after, zone)):
        first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        found: list[tuple[datetime, str]] = []
        if first < second:
            found = [(first, _twice(wall, repeats))]
            if repeats:
                again.append(second)
        else:
            found = [(moment, _twice(moment.astimezone(zone), repeats)) for moment in again]
            again = []
            if first == second:
                found.append((first, ""))
            elif not repeats:
                found.append((_end_of_gap(first, second, zone), _left_out(wall)))
        for moment, note in found:
            if moment > last:
                last = moment
                yield moment, note


def _wall_before(after: datetime, zone: ZoneInfo) -> datetime:
    """Give a time of day before which nothing is still to come after this moment."""
    yesterday, tomorrow = (
        (after + days).astimezone(zone).utcoffset() or timedelta() for days in (-_DAY, _DAY)
    )
    gone_back = max(yesterday - tomorrow, timedelta())
    return after.astimezone(zone).replace(tzinfo=None) - gone_back


def _end_of_gap(late: datetime, early: datetime, zone: ZoneInfo) -> datetime:
    """Find the minute at which the clocks go forward: it lies between the two."""
    before = early.astimezone(zone).utcoffset()
    minutes = range((late - early) // _MINUTE + 1)
    past = bisect_left(
        minutes, True, key=lambda n: (early + n * _MINUTE).astimezone(zone).utcoffset() != before
    )
    return early + past * _MINUTE


def _left_out(wall: datetime) -> str:
    return f"The clocks go forward and leave out {wall:%H:%M}: it starts when they have."


def _twice(wall: datetime, repeats: bool) -> str:
    which = "both times" if repeats else "the first time"
    return f"The clocks go back and show {wall:%H:%M} twice: it starts {which}."


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
