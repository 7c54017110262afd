"""Planned starts of some weeks, for the tests of the calendar and of the list."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobs.models import Job, JobRun, Occurrence

REASONS = {"started": "", "skipped": "overlap", "missed": "too_late"}


def occurred(
    job: Job, at: datetime, outcome: str = "started", *, late_s: int = 1, run: JobRun | None = None
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
    )
    if run is not None:
        JobRun.objects.filter(pk=run.pk).update(occurrence=start)
    return start
