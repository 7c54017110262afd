"""Many planners at once, and planners that are killed: every planned time is one run."""

from __future__ import annotations

import threading
from datetime import datetime, time, timedelta
from time import sleep

import pytest
from django.db import connection, transaction

from agents.models import Function
from jobs import definitions, planner, planning
from jobs.models import Job, JobRun, Occurrence, SiteSchedule
from sites import sql
from sites.models import Site, User
from tests import clock, databases, factories
from tests.invariants import check_runs
from tests.waiting import PATIENCE_S, until
from tests.zygote import Processes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


KILLED = 10  # at as many moments of a plan, which takes some hundredths of a second


@pytest.fixture
def nightly(hall: Site, backup: Function, edda: User) -> list[Job]:
    """Twenty jobs of as many targets that start every night."""
    jobs = []
    for number in range(20):
        job = factories.job(
            factories.target(hall, f"Line {number}"), backup, owner=edda, overlap="allow"
        )
        job.schedule_kind, job.schedule_time = "daily", time(2)
        jobs.append(definitions.save(job, by=edda))
    return jobs


def come(jobs: list[Job]) -> datetime:
    """Let the next start of all of them have come."""
    at = sql.clock() - timedelta(seconds=1)
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(next_run_at=at)
    return at


def started(at: datetime) -> int:
    return Occurrence.objects.filter(planned_at=at, outcome="started").count()


@pytest.mark.parametrize("number", [2, 5])
def test_any_number_of_planners_give_one_run_a_time(
    number: int, nightly: list[Job], processes: Processes
) -> None:
    """Rule 35, I6: ten times of twenty jobs are two hundred runs."""
    running = processes("plan", number)
    for _ in range(10):
        at = come(nightly)
        until(lambda at=at: started(at) == len(nightly))  # type: ignore[misc]
    assert all(one.lives() for one in running)
    assert JobRun.objects.count() == Occurrence.objects.count() == 10 * len(nightly)
    assert not JobRun.objects.filter(occurrence=None).exists()
    assert check_runs() == 10 * len(nightly)


def test_planners_that_are_killed_leave_whole_starts(
    nightly: list[Job], processes: Processes
) -> None:
    """What a killed one had begun is undone, and found again by the next."""
    *jobs, canary = nightly
    for number in range(KILLED):
        [victim] = processes("plan", 1)
        # It is at work, and begins with the others a moment later.
        first = come([canary])
        until(lambda at=first: started(at) == 1)  # type: ignore[misc]
        at = come(jobs)
        sleep(0.004 * number)
        victim.kill()
        [other] = processes("plan", 1)
        until(lambda at=at: started(at) == len(jobs))  # type: ignore[misc]
        other.kill()
    assert JobRun.objects.count() == Occurrence.objects.count() == KILLED * len(nightly)
    assert check_runs() == KILLED * len(nightly)


def test_a_clock_that_is_moved_by_an_hour_starts_nothing_twice(
    nightly: list[Job], processes: Processes, edda: User
) -> None:
    """Forth and back, and jobs are edited between: each time on the clock was one start (I6)."""
    *jobs, canary = nightly
    # Its own time is not among the hours that the clock goes through.
    canary.schedule_time = time((sql.clock().hour + 12) % 24)
    definitions.save(canary, by=edda)
    with clock.moving() as move:
        # Not to come by itself meanwhile, and within the grace after each move.
        soon = sql.clock() + timedelta(minutes=55)
        for job in jobs:
            job.schedule_kind, job.schedule_cron = "cron", f"{soon.minute} * * * *"
            definitions.save(job, by=edda)
        first = jobs[0].next_run_at
        assert first is not None
        looks = []

        def look(hours: int) -> None:
            """Move the clock, and wait until a planner has looked at it."""
            move(timedelta(hours=hours))
            at = come([canary])
            looks.append(at)
            until(lambda: started(at) == 1)

        running = processes("plan", 2)
        look(0)
        assert not Occurrence.objects.exclude(job=canary).exists()
        look(1)
        until(lambda: started(first) == len(jobs))
        look(0)
        for job in jobs:
            job.refresh_from_db()
            job.schedule_cron = f"{soon.minute} */1 * * *"
            definitions.save(job, by=edda)
        # Due once more, as after an hour that the clock ran ahead, and known.
        assert jobs[0].next_run_at == first
        for hours in (1, -1, 0, 1):
            look(hours)
        assert Occurrence.objects.exclude(job=canary).count() == len(jobs)
        look(2)
        until(lambda: started(first + timedelta(hours=1)) == len(jobs))
        look(0)
        assert all(one.lives() for one in running)
        for one in running:
            one.kill()
    assert JobRun.objects.count() == Occurrence.objects.count() == 2 * len(jobs) + len(looks)
    assert check_runs() == 2 * len(jobs) + len(looks)


@pytest.mark.postgres
def test_a_job_that_somebody_holds_is_waited_for_by_its_sites_start(nightly: list[Job]) -> None:
    """Its start would be lost with the night: a site's times are written down once."""
    planned = planning.of_site(nightly[0].site)
    planned.schedule_kind, planned.schedule_time, planned.at_once = "daily", time(1), 100
    planning.save_for_site(planned)
    Job.objects.update(schedule_kind="site", next_run_at=None)
    SiteSchedule.objects.update(next_run_at=sql.clock() - timedelta(seconds=1))
    holds = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Job.objects.select_for_update(no_key=True).get(pk=nightly[3].pk)
            holds.set()
            until(databases.one_waits_for_a_lock)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(PATIENCE_S)
    assert planner.plan() == len(nightly)
    holder.join()
