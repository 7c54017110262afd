"""Decides what may be planned: the times of a job or of a site, and which of them comes next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from sites import events, sql
from sites.models import Site
from sites.problems import Refused

from . import schedule
from .models import Job, SiteSchedule
from .querysets import JobQuerySet
from .schedule import Kind

_TIMES = ("schedule_kind", "schedule_time", "schedule_days", "schedule_cron")
# What moves the next start when it is changed.
_TIMING = (*_TIMES, "spread_s", "enabled")


def tidy(planned: Job | SiteSchedule) -> None:
    """Forget what the chosen kind does not use, so that equal schedules look equal."""
    kind, at, days = planned.schedule_kind, planned.schedule_time, planned.schedule_days
    planned.schedule_time = None
    if kind in (Kind.DAILY, Kind.WORKDAYS, Kind.WEEKLY) and at is not None:
        # Minutes of the site's clock, whatever a form or file has said beside.
        planned.schedule_time = at.replace(second=0, microsecond=0, tzinfo=None)
    if kind != Kind.CRON:
        planned.schedule_cron = ""
    if kind != Kind.WEEKLY or not isinstance(days, list):
        planned.schedule_days = []
    elif all(day in schedule.DAYS for day in days):
        planned.schedule_days = [day for day in schedule.DAYS if day in days]
    planned.schedule_cron = " ".join(planned.schedule_cron.split())


def check(planned: Job | SiteSchedule) -> None:
    """Refuse times that cannot be (422, `schedule.<field>`)."""
    if planned.schedule_kind == Kind.NONE:
        return
    if planned.schedule_kind == Kind.SITE and isinstance(planned, Job):
        return
    try:
        schedule.check(planned.schedule)
    except Refused as refusal:
        errors = {f"schedule.{name}": texts for name, texts in (refusal.errors or {}).items()}
        raise Refused(refusal.code, refusal.detail, status=refusal.status, errors=errors) from None


def is_asked(job: Job, known: Job | None) -> bool:
    """Say whether a job that is saved has to be able to start by its times; `known` is stored.

    Not where they stay, even if they cannot be any more: it is paused and switched off as others.
    """
    if known is None or _differ(job, known, _TIMES):
        return True
    return job.enabled and _differ(job, known, _TIMING)


def _differ(one: Any, other: Any, names: Sequence[str]) -> bool:
    return any(getattr(one, name) != getattr(other, name) for name in names)


def set_next(job: Job, known: Job | None) -> None:
    """Set when a job starts next, as it is being saved; `known` is what is stored, and held.

    A schedule that stays as it was keeps its next start, and a start that is due already is made
    even where the times are others from then on: no edit loses one.
    """
    runs = job.enabled and job.schedule_kind not in (Kind.NONE, Kind.SITE)
    _set_next(job, known, _TIMING, runs=runs)


def _set_next(
    planned: Job | SiteSchedule,
    known: Job | SiteSchedule | None,
    timing: Sequence[str],
    *,
    runs: bool,
) -> None:
    now = sql.clock()
    due = known.next_run_at if known is not None else None
    if known is not None and not _differ(planned, known, timing):
        planned.next_run_at, planned.schedule_fault = due, known.schedule_fault
    elif runs:
        overdue = due is not None and due <= now
        planned.next_run_at = due if overdue else next_of(planned, after=now)
        planned.schedule_fault = ""
    else:
        planned.next_run_at, planned.schedule_fault = None, ""


def next_of(planned: Job | SiteSchedule, *, after: datetime) -> datetime | None:
    """Give the first start after a moment, each job at its own place within its spread."""
    return schedule.next_start(planned.schedule, after=after, delay=delay_of(planned))


def delay_of(planned: Job | SiteSchedule) -> timedelta:
    """Give how much later than its times say it starts; a site's schedule starts on time."""
    if isinstance(planned, Job):
        return schedule.delay_of(planned.public_id, planned.spread_s)
    return timedelta()


def preview(planned: Job | SiteSchedule) -> dict[str, Any]:
    """Show times before they are saved: in words, and the next five, each with what clocks show.

    `text`, `time_zone`, `starts` (`at`, `local`, `note`). Refused as `check` says; a job that goes
    with its site's schedule shows that one.
    """
    tidy(planned)
    if planned.schedule_kind == Kind.SITE and isinstance(planned, Job):
        with_site = of_site(planned.site)
        if with_site.schedule_kind == Kind.NONE:
            words = f"Site {planned.site} has no schedule yet: who manages the site sets it."
            raise Refused("no_schedule", words, status=422, errors={"schedule.kind": [words]})
        return preview(with_site)
    check(planned)
    zone = ZoneInfo(planned.site.time_zone)
    found = schedule.preview(planned.schedule, after=sql.clock(), delay=delay_of(planned))
    return {
        "text": schedule.reading(planned.schedule),
        "time_zone": planned.site.time_zone,
        "starts": [
            {"at": at, "local": f"{at.astimezone(zone):%a %d %b %Y, %H:%M %Z}", "note": note}
            for at, note in found
        ],
    }


def of_site(site: Site) -> SiteSchedule:
    """Give the schedule of a site; one that was never saved starts nothing."""
    return SiteSchedule.objects.filter(site=site).first() or SiteSchedule(site=site)


def marked_at(site: Site) -> JobQuerySet:
    """List the jobs that start with a site's schedule, in their order."""
    marked = Job.objects.in_use().filter(site=site, schedule_kind=Kind.SITE)
    return marked.select_related("target").order_by("site_order", "name", "pk")


def mark_of(planned: SiteSchedule) -> str:
    """Say what a person saw of a site's schedule, to know it again when they save."""
    days = ",".join(planned.schedule_days)
    times = f"{planned.schedule_kind} {planned.schedule_time} {days} {planned.schedule_cron}"
    return f"{times} {planned.at_once}"


def save_for_site(planned: SiteSchedule, *, seen: str | None = None) -> None:
    """Store the schedule of a site. The door has asked for "manage".

    Refused 422 by field; 409 where it is not what was `seen` (of `mark_of`) any more.
    """
    tidy(planned)
    check(planned)
    with transaction.atomic():
        site = Site.objects.select_for_update(no_key=True).get(pk=planned.site.pk)
        known = SiteSchedule.objects.select_for_update(no_key=True).filter(site=site).first()
        if seen is not None and seen != mark_of(known or SiteSchedule(site=site)):
            raise Refused(
                "changed",
                f"The schedule of {site} was changed by someone else since you opened this page."
                " Save again to put what stands here in its place.",
            )
        planned.pk = known.pk if known else None
        _set_next(planned, known, _TIMES, runs=planned.schedule_kind != Kind.NONE)
        planned.full_clean(validate_unique=False)
        planned.save()
        tell_of_site(planned)


def tell_of_site(planned: SiteSchedule) -> None:
    """Write the Event that a site's schedule is another one, in the caller's transaction."""
    site = planned.site
    events.record(
        "site.changed",
        site.public_id,
        organization=site.organization,
        site=site,
        data={"name": site.name},
    )
