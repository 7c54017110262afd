"""Planned starts of some weeks, for the tests of the calendar and of the list."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.models import Job, JobRun, Occurrence
from tests.pages import rows, words

BERLIN = ZoneInfo("Europe/Berlin")
REASONS = {"started": "", "skipped": "overlap", "missed": "too_late"}


def occurred(
    job: Job,
    at: datetime,
    outcome: str = "started",
    *,
    late_s: int = 1,
    never_began: bool = False,
    run: JobRun | None = None,
) -> Occurrence:
    """A planned start as the planner records it, at any time; `run` is what it became."""
    start = Occurrence.objects.create(
        organization=job.organization,
        site=job.site,
        target=job.target,
        job=job,
        starter=job.owner,
        planned_at=at,
        at=at + timedelta(seconds=late_s),
        late_s=late_s,
        outcome=outcome,
        reason=REASONS[outcome],
        message="" if outcome == "started" else f"It was {outcome}.",
        never_began=never_began,
    )
    if run is not None:
        JobRun.objects.filter(pk=run.pk).update(occurrence=start)
    return start


def noon(days_ago: int, **clock: int) -> datetime:
    at = datetime.now(BERLIN).replace(hour=12, minute=0, second=0, microsecond=0)
    return at.replace(**clock) - timedelta(days=days_ago)  # type: ignore[arg-type]


def squares(page: str) -> dict[str, tuple[str, str]]:
    """The squares that lead to a day: what is read of each, with its look and its sign."""
    start = page.index('<ol class="y-heat"')
    found = re.findall(
        r'<a class="(\w*)" href="[^"]*from=([\d-]+)&amp;to=\2"[^>]*>(.*?)</a>',
        page[start : page.index("</ol>", start)],
    )
    return {day: (look, words(text)) for look, day, text in found}


def rows_of(page: str) -> list[dict[str, str]]:
    """The rows of the list, without those of the calendar's table."""
    page = page[page.index('id="starts"') :]
    return rows(page) if "<table" in page else []
