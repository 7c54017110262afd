"""Many that try again at once, also killed ones and beside people: each run is followed by one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents.models import Function
from jobs import starts
from jobs.models import Job, JobRun
from sites.models import Site, User
from tests import factories
from tests.factories import Enrolled
from tests.invariants import check_runs
from tests.waiting import until
from tests.zygote import Processes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

JOBS = 16


@pytest.fixture
def failed(hall: Site, backup: Function, agent: Enrolled, edda: User) -> list[Job]:
    """Jobs whose one run has failed, to be tried again in five minutes."""
    jobs = [
        factories.job(
            factories.target(hall, f"Line {number}"), backup, owner=edda, retries=3, overlap="allow"
        )
        for number in range(JOBS)
    ]
    for job in jobs:
        factories.run(job, by=edda)
    while held := agent.api.claim(8):
        for run in held:
            agent.api.move(run, "running")
            agent.api.finish(run, "failed", message="No.")
    return jobs


def come() -> None:
    """Let the time of all that wait have come, at once."""
    JobRun.objects.filter(retry_at__isnull=False).update(retry_at=Now() - timedelta(seconds=1))


def done() -> bool:
    return not JobRun.objects.filter(retry_at__isnull=False).exists()


@pytest.mark.parametrize("number", [2, 4])
def test_any_number_of_them_make_one_try_of_each(
    number: int, failed: list[Job], processes: Processes
) -> None:
    running = processes("retry", number)
    come()
    until(done)
    assert all(one.lives() for one in running)
    tries = JobRun.objects.filter(try_number=2)
    assert len({run.retry_of_id for run in tries}) == tries.count() == JOBS
    assert not JobRun.objects.exclude(retry_note="").exists()
    assert check_runs() == 2 * JOBS


def test_one_that_is_killed_leaves_its_try_to_the_others(
    failed: list[Job], processes: Processes
) -> None:
    [victim] = processes("retry", 1)
    come()
    until(lambda: JobRun.objects.filter(try_number=2).exists())
    victim.kill()
    processes("retry", 1)
    until(done)
    assert JobRun.objects.filter(try_number=2).count() == JOBS
    assert check_runs() == 2 * JOBS


def test_who_starts_a_job_meanwhile_takes_the_place_of_its_try(
    failed: list[Job], processes: Processes, edda: User
) -> None:
    """Beside presses, each job is tried again or its try is dropped with the reason: never both."""
    processes("retry", 2)
    come()
    for job in failed:
        starts.start_run(job, by=edda)
    until(done)
    for job in failed:
        first = JobRun.objects.get(job=job, status="failed")
        assert bool(first.retry_note) is not first.retries.exists()
        assert JobRun.objects.filter(job=job).count() == 2 + first.retries.count()
