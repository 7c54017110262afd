"""What starts by itself: every planned time becomes a run, or is on record as skipped or missed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from agents import catalogue
from agents.models import Queue
from sites import events, sql
from sites.models import Event, User
from sites.problems import words_of
from sites.sql import Sql

from . import making, planning, schedule, starts, turns
from .fates import Planned, decide, planned_of, version_of
from .models import Job, Occurrence, SiteSchedule
from .querysets import JobQuerySet
from .schedule import Kind

logger = logging.getLogger(__name__)

# So many jobs in a transaction: of 10,000 due at once, a fifth; with 500 the tick took half as long
# again.
BATCH = 2000
# The fate of so many times is recorded at once, of one job and of all; the rest follows by and by.
MOST_TIMES, MOST_TIMES_OF_ALL = 500, 20_000


def plan() -> int:
    """Start what is due (rules 35 and 37); gives how many runs were made.

    Any number of planners may run at once: each takes jobs that no other one holds, and a planned
    time is on record once. A job whose times cannot be found is put aside with the reason.
    """
    try:
        return _plan_jobs() + _plan_sites()
    finally:
        # Whatever fails here, runs whose turn has come do not wait for it.
        turns.release()


def _plan_jobs() -> int:
    made, seen = 0, set[int]()
    while True:
        with transaction.atomic():
            due = _due()
            if due:
                made += _start_each(due)
        # What could not be planned just now, or only a part of it, is for the next tick.
        if len(due) < BATCH or seen & set(due):
            return made
        seen.update(due)


def _start_each(pks: list[int]) -> int:
    """Plan jobs that are held: together, or each alone where that fails."""
    try:
        with transaction.atomic():
            return _start(pks)
    except Exception:
        logger.exception("Planning %d jobs together failed; each alone now.", len(pks))
        return sum(_start_alone(pk) for pk in pks)


def _start_alone(pk: int) -> int:
    """Plan one job; what is wrong with it is written down, and it is due no more."""
    try:
        with transaction.atomic():
            return _start([pk])
    except (OperationalError, InterfaceError):
        # The database's moment, not the job's fault: it stays due.
        logger.exception("Job %d was not planned; the next tick tries again.", pk)
    except Exception as error:
        logger.exception("Job %d cannot be planned.", pk)
        _put_aside(pk, f"Its next start could not be found: {words_of(error)}"[:300])
    return 0


def _put_aside(pk: int, fault: str) -> None:
    Job.objects.filter(pk=pk).update(next_run_at=None, schedule_fault=fault)
    job = Job.objects.select_related("organization", "site", "target").get(pk=pk)
    events.record(
        "job.changed",
        job.public_id,
        organization=job.organization,
        site=job.site,
        target=job.target,
        data={"name": job.name, "fault": fault},
    )


def _due() -> list[int]:
    """Find and hold jobs whose time has come, and the places at which they start.

    Who archives a place waits for the runs that are about to be made, or was waited for.
    """
    due = Job.objects.filter(next_run_at__lte=Now(), archived_at=None)
    return _hold(due.order_by("next_run_at", "pk"), most=BATCH)


def _hold(jobs: JobQuerySet, *, most: int | None = None, wait: bool = False) -> list[int]:
    """Lock jobs, all or those that nobody else holds, and the places at which they start."""
    skip = sql.on_postgresql() and not wait
    held = jobs.select_for_update(skip_locked=skip, no_key=True, of=("self",))
    found = list(held.values_list("pk", "site", "target")[:most])
    if found and sql.on_postgresql():
        for table, place in (("sites_site", 1), ("sites_target", 2)):
            these = sql.one_of("id", sorted({row[place] for row in found}))
            text = f"SELECT id FROM {table} WHERE {these.text} ORDER BY id FOR KEY SHARE"
            sql.rows(Sql(text, these.params))
    return [row[0] for row in found]


def _read(pks: list[int]) -> list[Any]:
    """Read of held jobs what a start needs, and what time it is."""
    jobs = Job.objects.filter(pk__in=pks).annotate(now=Now()).order_by("next_run_at", "pk")
    return list(jobs.values_list(*_READ, "now", named=True))


# What is read of each job that is due.
_READ = (
    "pk", "public_id", "name", "organization_id", "site_id", "target_id", "function_id", "version",
    "assignment", "agent_id", "pool_id", "owner_id", "overlap", "grace_s", "spread_s",
    "checked_version_id", "next_run_at", "schedule_kind", "schedule_time", "schedule_days",
    "schedule_cron", "paused_until", "site__paused_until", "site__name",
    "site__time_zone", "target__name", "target__archived_at", "target__credential_id",
    "agent__name", "agent__retired_at",
)  # fmt: skip


def _start(pks: list[int]) -> int:
    """Decide about jobs that are held, and make their runs: a handful of statements for all."""
    planned: list[Planned] = []
    following: dict[int, datetime | None] = {}
    most = min(MOST_TIMES, MOST_TIMES_OF_ALL // len(pks))
    for job in _read(pks):
        delay = schedule.delay_of(job.public_id, job.spread_s)
        pattern = schedule.of(job, job.site__time_zone)
        times, following[job.pk] = _times(pattern, job.next_run_at, job.now, delay, most)
        planned += planned_of(job, times, following[job.pk])
    made = _make(planned)
    _set_next(Job, following)
    return made


def _plan_sites() -> int:
    """Start all jobs that are marked for a site's schedule, where its time has come."""
    made = 0
    due = SiteSchedule.objects.filter(next_run_at__lte=Now(), site__archived_at=None)
    for pk in list(due.values_list("pk", flat=True)):
        try:
            with transaction.atomic():
                held = due.filter(pk=pk).select_related("site__organization").annotate(now=Now())
                found = held.select_for_update(
                    skip_locked=sql.on_postgresql(), no_key=True, of=("self",)
                ).first()
                made += _start_site(found) if found is not None else 0
        except Exception:
            # It stays due, and stops no other.
            logger.exception(
                "Schedule %d of a site was not planned; the next tick tries again.", pk
            )
    return made


def _start_site(due: SiteSchedule) -> int:
    now = due.now  # type: ignore[attr-defined]
    assert due.next_run_at is not None
    marked = Job.objects.filter(site=due.site_id, schedule_kind=Kind.SITE, enabled=True)
    # Who holds one of them is waited for: its start would be lost with the night.
    pks = _hold(marked.filter(archived_at=None).order_by("pk"), wait=True)
    most = min(MOST_TIMES, MOST_TIMES_OF_ALL // max(len(pks), 1))
    try:
        times, following = _times(due.schedule, due.next_run_at, now, timedelta(), most)
    except Exception as error:
        logger.exception("The schedule of site %s cannot be planned.", due.site)
        due.next_run_at = None
        due.schedule_fault = f"Its next start could not be found: {words_of(error)}"[:300]
        due.save(update_fields=["next_run_at", "schedule_fault"])
        planning.tell_of_site(due)
        return 0
    jobs = _read(pks)
    made = 0
    try:
        with transaction.atomic():
            planned = [one for job in jobs for one in planned_of(job, times, following)]
            made = _make(planned, in_turn=True)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("Planning the jobs of site %s together failed; each alone.", due.site)
        made = sum(_make_alone(planned_of(job, times, following)) for job in jobs)
    _set_next(SiteSchedule, {due.pk: following})
    return made


def _make_alone(planned: list[Planned]) -> int:
    """Start one job of a site; what is wrong with it is on record in place of its run."""
    try:
        with transaction.atomic():
            return _make(planned, in_turn=True)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("Job %s cannot be planned.", planned[0].job.name)
        for one in planned:
            one.skip(Occurrence.Reason.REFUSED, f"It could not be planned: {words_of(error)}")
        _record(planned)
        _tell(planned)
        return 0


def _make(planned: Sequence[Planned], *, in_turn: bool = False) -> int:
    """Decide about the times of jobs that are held, record them, and make their runs."""
    versions = decide(planned)
    recorded = _record(planned)
    starting = [one for one in planned if not one.reason and one.job.pk in recorded]
    if starting:
        queues = _queues([one.job for one in starting])
        given = _credentials([one.job for one in starting])
        making.make(
            [
                making.Wanted(
                    job=one.job.pk,
                    queue=queues[one.job.pk],
                    makes_snapshot=starts.makes_snapshot(versions[version_of(one.job)]),
                    started_by=one.job.owner_id,
                    credential=given.get(one.job.pk),
                    occurrence=recorded[one.job.pk],
                    in_turn=in_turn,
                )
                for one in starting
            ]
        )
    _tell(planned)
    return len(starting)


def _times(
    pattern: schedule.Schedule, first: datetime, now: datetime, delay: timedelta, most: int
) -> tuple[list[datetime], datetime | None]:
    """Give the times that have come, from the first on, and the one after them; only so many."""
    times = [first]
    while (after := schedule.next_start(pattern, after=times[-1], delay=delay)) is not None:
        if after > now or len(times) == most:
            return times, after
        times.append(after)
    return times, None


def _queues(jobs: Sequence[Any]) -> dict[int, int]:
    """Find the queue of each job's run; one that is not there yet is made."""
    keys = {
        job.pk: catalogue.queue_key(
            job.site_id, job.function_id, job.version, job.assignment, job.agent_id, job.pool_id
        )
        for job in jobs
    }
    known = dict(Queue.objects.filter(key__in=set(keys.values())).values_list("key", "pk"))
    new = {key: pk for pk, key in keys.items() if key not in known}
    joined = ("site", "function", "agent", "pool")
    for job in Job.objects.filter(pk__in=new.values()).select_related(*joined) if new else ():
        known[keys[job.pk]] = starts.queue_of(job).pk
    return {pk: known[key] for pk, key in keys.items()}


def _credentials(jobs: Sequence[Any]) -> dict[int, int]:
    """Say which job's run may use which credential: where its owner may give it (starts)."""
    places: dict[int, list[tuple[int, int]]] = {}
    for job in jobs:
        if job.target__credential_id is not None:
            place = (job.target_id, job.target__credential_id)
            places.setdefault(job.owner_id, []).append(place)
    owners = User.objects.in_bulk(places) if places else {}
    given = {owner: starts.may_give(owners[owner], found) for owner, found in places.items()}
    return {
        job.pk: job.target__credential_id
        for job in jobs
        if job.target_id in given.get(job.owner_id, ())
    }


def _record(planned: Sequence[Planned]) -> dict[int, int]:
    """Write the times down, each once; gives the occurrence of each job that is to be started."""
    columns = {
        "organization_id": "BIGINT",
        "site_id": "BIGINT",
        "target_id": "BIGINT",
        "job_id": "BIGINT",
        "starter_id": "BIGINT",
        "planned_at": "TIMESTAMPTZ",
        "late_s": "INT",
        "outcome": "TEXT",
        "reason": "TEXT",
        "message": "TEXT",
    }
    names = ", ".join(columns)
    given = sql.table(
        "planned",
        columns,
        (
            {
                "organization_id": one.job.organization_id,
                "site_id": one.job.site_id,
                "target_id": one.job.target_id,
                "job_id": one.job.pk,
                "starter_id": one.job.owner_id,
                "planned_at": one.at,
                "late_s": max(0, int((one.job.now - one.at).total_seconds())),
                "outcome": one.outcome,
                "reason": one.reason,
                "message": one.message,
            }
            for one in planned
        ),
    )
    written = sql.rows(
        Sql(
            f"INSERT INTO jobs_occurrence ({names}) SELECT {names} FROM {given.text} WHERE TRUE"
            " ON CONFLICT (job_id, planned_at) DO NOTHING RETURNING job_id, id, outcome",
            given.params,
        )
    )
    return {job: pk for job, pk, outcome in written if outcome == Occurrence.Outcome.STARTED}


def _tell(planned: Sequence[Planned]) -> None:
    """Write an Event for each job with starts that were not made: `job.skipped`, `job.missed`."""
    untold: dict[tuple[int, str], list[Planned]] = {}
    for one in planned:
        if one.reason:
            untold.setdefault((one.job.pk, one.outcome), []).append(one)
    Event.objects.bulk_create(
        Event(
            kind=f"job.{outcome}",
            subject_id=found[-1].job.public_id,
            organization_id=found[-1].job.organization_id,
            site_id=found[-1].job.site_id,
            target_id=found[-1].job.target_id,
            starter_id=found[-1].job.owner_id,
            data={
                "name": found[-1].job.name,
                "planned_at": found[-1].at.isoformat(),
                "number": len(found),
                "reason": found[-1].reason,
            },
        )
        for (_, outcome), found in untold.items()
    )


def _set_next(planned: type[Job | SiteSchedule], following: dict[int, datetime | None]) -> None:
    columns = {"pk": "BIGINT", "next_run_at": "TIMESTAMPTZ", "fault": "TEXT"}
    given = sql.table(
        "plan",
        columns,
        (
            {"pk": pk, "next_run_at": at, "fault": "" if at else "Its times are over."}
            for pk, at in following.items()
        ),
    )
    sql.rows(
        Sql(
            f"UPDATE {planned._meta.db_table} AS row SET next_run_at = plan.next_run_at,"
            f" schedule_fault = plan.fault FROM {given.text} WHERE row.id = plan.pk",
            given.params,
        )
    )
