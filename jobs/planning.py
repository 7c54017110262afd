"""Decides what may be planned: the times of a job or of a site, and which of them comes next."""

from __future__ import annotations

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
    kind = planned.schedule_kind
    if kind not in (Kind.DAILY, Kind.WORKDAYS, Kind.WEEKLY):
        planned.schedule_time = None
    if kind != Kind.CRON:
        planned.schedule_cron = ""
    days = planned.schedule_days if kind == Kind.WEEKLY else []
    if isinstance(days, list):
        known = [day for day in schedule.DAYS if day in days]
        planned.schedule_days = known if set(known) == set(map(str, days)) else days
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


def set_next(job: Job, known: Job | None) -> None:
    """Set when a job starts next, as it is being saved; `known` is what is stored, and held.

    A schedule that stays as it was keeps its next start: what is due is not lost by an edit.
    """
    if known is not None and all(getattr(job, n) == getattr(known, n) for n in _TIMING):
        job.next_run_at, job.schedule_fault = known.next_run_at, known.schedule_fault
        return
    job.schedule_fault = ""
    job.next_run_at = None
    if job.enabled and job.schedule_kind not in (Kind.NONE, Kind.SITE):
        job.next_run_at = next_of(job, after=sql.clock())


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


def save_for_site(planned: SiteSchedule) -> None:
    """Store the schedule of a site. The door has asked for "manage". Refused 422 by field."""
    tidy(planned)
    check(planned)
    with transaction.atomic():
        site = Site.objects.select_for_update(no_key=True).get(pk=planned.site.pk)
        planned.pk = SiteSchedule.objects.filter(site=site).values_list("pk", flat=True).first()
        planned.schedule_fault, planned.next_run_at = "", None
        if planned.schedule_kind != Kind.NONE:
            planned.next_run_at = next_of(planned, after=sql.clock())
        planned.full_clean(validate_unique=False)
        planned.save()
        events.record(
            "site.changed",
            site.public_id,
            organization=site.organization,
            site=site,
            data={"name": site.name},
        )
