"""What became of planned starts, day by day: the calendar of the starts that a person may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from sites import sql
from sites.access.policy import Person
from sites.sql import Sql

from .models import Occurrence
from .models.schedule import LATE_S
from .permissions import occurrence_policy

# So many weeks are shown where no month is chosen.
WEEKS = 12
WEEK = timedelta(days=7)
# What may become of a start, the worst first, and how filters say it.
FATES: dict[str, dict[str, str]] = {
    "missed": {"outcome": "missed"},
    "never_began": {"never_began": "true"},
    "skipped": {"outcome": "skipped"},
    "late": {"late": "true"},
    "ran": {"late": "false"},
}

WORDS = {
    "missed": "missed",
    "never_began": "never began",
    "skipped": "skipped",
    "late": "late",
    "ran": "on time",
}
# What a square says beside its colour; what is expected says nothing.
SIGNS = {"missed": "×", "never_began": "!", "skipped": "–", "late": "+", "ran": ""}
# All but what is as it should be, in the order in which they are counted.
UNUSUAL = [fate for fate in FATES if fate != "ran"]
DAY = timedelta(days=1)


@dataclass(slots=True)
class Day:
    """One day of a calendar, and how many starts of it had which fate."""

    day: date
    # None of the month that is shown, or not there yet.
    outside: bool = False
    ran: int = 0
    late: int = 0
    skipped: int = 0
    never_began: int = 0
    missed: int = 0

    @property
    def planned(self) -> int:
        return sum(getattr(self, fate) for fate in FATES)

    @property
    def worst(self) -> str:
        """The worst that became of a start of this day; empty where none was planned."""
        return next((fate for fate in FATES if getattr(self, fate)), "")

    @property
    def sign(self) -> str:
        return SIGNS.get(self.worst, "")

    @property
    def words(self) -> str:
        """What became of the starts of this day, the worst first: "1 missed, 11 on time"."""
        told = [(getattr(self, fate), WORDS[fate]) for fate in FATES]
        return ", ".join(f"{number:,} {words}" for number, words in told if number)


@dataclass(frozen=True, slots=True)
class Span:
    """Whole weeks from a Monday on; days before `first` and after `last` are not asked for."""

    first: date
    last: date
    month: bool = False

    @property
    def days(self) -> list[date]:
        monday = self.first - timedelta(days=self.first.weekday())
        number = (self.last - monday).days // 7 + 1
        return [monday + timedelta(days=n) for n in range(7 * number)]


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of some weeks, and what became of all their starts together."""

    span: Span
    weeks: list[list[Day]]
    zone: str
    total: Day = field(default_factory=lambda: Day(date.min))

    @property
    def legend(self) -> list[tuple[str, str, str, str]]:
        """Each fate with its sign, its words, and how many starts had it."""
        return [(one, SIGNS[one], WORDS[one], f"{getattr(self.total, one):,}") for one in WORDS]

    @property
    def told(self) -> list[Day]:
        """The days that had planned starts, the newest first."""
        return [day for week in reversed(self.weeks) for day in reversed(week) if day.planned]


def last_weeks(today: date) -> Span:
    """Give the weeks up to this one."""
    monday = today - timedelta(days=today.weekday())
    return Span(monday - (WEEKS - 1) * WEEK, today)


def month_of(day: date, today: date) -> Span:
    """Give the month of a day, as far as it has come."""
    first = day.replace(day=1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return Span(first, max(first, min(last, today)), month=True)


def calendar(
    user: Person, starts: QuerySet[Occurrence], span: Span, zone: tzinfo, name: str
) -> Calendar:
    """Count the starts that the person may see, by day of a zone and by what became of them.

    One statement: each day is a piece of an index, so that its end is where the zone's clocks have
    midnight, also where they change.
    """
    found = {day: Day(day, outside=not span.first <= day <= span.last) for day in span.days}
    asked = [day for day, one in found.items() if not one.outside]
    total = Day(date.min)
    for number, planned, *unusual in _count(_seen(user, starts), asked, zone):
        one = found[asked[number]]
        for fate, counted in zip(UNUSUAL, unusual, strict=True):
            setattr(one, fate, getattr(one, fate) + counted)
        one.ran += planned - sum(unusual)
    for one in found.values():
        for fate in FATES:
            setattr(total, fate, getattr(total, fate) + getattr(one, fate))
    days = list(found.values())
    weeks = [days[at : at + 7] for at in range(0, len(days), 7)]
    return Calendar(span, weeks, name, total)


def _seen(user: Person, starts: QuerySet[Occurrence]) -> QuerySet[Occurrence]:
    return occurrence_policy.rows(user, "view", starts)


def _count(
    starts: QuerySet[Occurrence], days: Sequence[date], zone: tzinfo
) -> list[tuple[Any, ...]]:
    """Count all starts of each day, then by their fate those that are unusual.

    Of what is as it should be nothing is read but the index; what is not has one of its own.
    """
    columns = starts.order_by().values("planned_at", "outcome", "late_s", "never_began")
    try:
        text, params = columns.query.get_compiler(connection=connection).as_sql()
    except EmptyResultSet:
        return []
    given = sql.table(
        "days",
        {"number": "INT", "begins": "TIMESTAMPTZ", "ends": "TIMESTAMPTZ"},
        (
            {"number": n, "begins": midnight(day, zone), "ends": midnight(day + DAY, zone)}
            for n, day in enumerate(days)
        ),
    )
    of_day = "start.planned_at >= days.begins AND start.planned_at < days.ends"
    late = f"start.late_s > {LATE_S}"
    conditions = {
        "missed": "start.outcome = 'missed'",
        "never_began": "start.never_began",
        "skipped": "start.outcome = 'skipped'",
        "late": f"start.outcome = 'started' AND {late} AND NOT start.never_began",
    }
    fates = ", ".join(f"COUNT(*) FILTER (WHERE {conditions[fate]})" for fate in UNUSUAL)
    nothing = ", ".join("0" for _ in UNUSUAL)
    return sql.rows(
        Sql(
            "SELECT days.number,"
            f" (SELECT COUNT(*) FROM ({text}) AS start WHERE {of_day}), {nothing}"
            f" FROM {given.text} UNION ALL"
            # SQLite takes the tables of a CROSS JOIN in this order: a piece of the index a day.
            f" SELECT days.number, 0, {fates} FROM {given.text} CROSS JOIN ({text}) AS start"
            # Spelled as the condition of the index of unusual ones, or SQLite does not see it.
            f" WHERE {of_day} AND (start.outcome IN ('skipped', 'missed') OR {late}"
            " OR start.never_began) GROUP BY days.number",
            (*params, *given.params, *given.params, *params),
        )
    )


def midnight(day: date, zone: tzinfo) -> datetime:
    """Give the instant at which a day begins in a zone."""
    return datetime.combine(day, time(), zone).astimezone(UTC)
