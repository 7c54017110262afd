"""Ten real minutes of real beats: every minute's start is one run, also while beats are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from time import sleep

import pytest
from django.conf import settings
from django.db import connection

from agents.models import Function
from config.supervisor import child_command
from jobs import definitions
from jobs.models import Job, JobRun, Occurrence
from sites import sql
from sites.models import Site, User
from tests import factories
from tests.invariants import check_runs
from tests.waiting import until
from tests.web import environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]
JOBS, STARTS = 5, 10
AWAY = timedelta(minutes=3)

Program = subprocess.Popen[bytes]
# Starts a beat.
Beats = Callable[[], Program]


@pytest.fixture
def minutely(hall: Site, backup: Function, edda: User) -> list[Job]:
    """Jobs of as many targets that start every minute."""
    jobs = []
    for number in range(JOBS):
        target = factories.target(hall, f"Line {number}")
        job = factories.job(target, backup, owner=edda, overlap="allow", grace_s=90)
        job.schedule_kind, job.schedule_cron = "cron", "* * * * *"
        jobs.append(definitions.save(job, by=edda))
    return jobs


@pytest.fixture
def beats(tmp_path: Path) -> Iterator[Beats]:
    """Start beats as the Procfile does, with two clock workers; on SQLite as `up` does, in one.

    One after the other: Kombu has the queues of the folders that SQLite has for a broker in a
    file that two who come at once spoil for each other.
    """
    celery = [sys.executable, "-m", "celery", "-A", "config"]
    worker = [*celery, "worker", "-Q", "clock", "--pool", "threads", "--concurrency", "2"]
    started: list[Program] = []

    def start(command: list[str], up: bytes) -> Program:
        log = tmp_path / f"log {len(started)}"
        with log.open("wb") as output:
            new = subprocess.Popen(
                child_command([*command, "--loglevel", "info"]),
                cwd=settings.BASE_DIR,
                env=environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started.append(new)
        until(lambda: up in log.read_bytes(), lambda: log.read_text()[-3000:])
        return new

    try:
        if connection.vendor == "postgresql":
            for number in range(2):
                start([*worker, "-n", f"clock{number}@%h"], b" ready.")
            yield lambda: start([*celery, "beat"], b"beat: Starting")
        else:
            yield lambda: start([*worker, "-B", "-n", f"clock{len(started)}@%h"], b" ready.")
    finally:
        for one in started:
            end(one)


def end(program: Program) -> None:
    """Kill a program with what it has forked: a worker's own beat would go on without it."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def wait(span: timedelta) -> None:
    """Wait so long by the clock of the database."""
    end = sql.clock() + span
    while sql.clock() < end:
        sleep(1)


@pytest.mark.parametrize("number", [2, 5])
def test_ten_minutes_of_several_beats_are_ten_runs_of_each_job(
    number: int, minutely: list[Job], beats: Beats
) -> None:
    """Rule 35, I6."""
    running = [beats() for _ in range(number)]
    begin = minutely[0].next_run_at
    assert begin is not None
    times = [begin + timedelta(minutes=count) for count in range(STARTS)]
    # The last of them has come, and the next has not.
    wait(times[-1] + timedelta(seconds=30) - sql.clock())
    assert all(one.poll() is None for one in running)
    recorded = Occurrence.objects.order_by("job", "planned_at").values_list(
        "job", "planned_at", "outcome"
    )
    assert list(recorded) == [(job.pk, at, "started") for job in minutely for at in times]
    assert not Occurrence.objects.filter(late_s__gt=30).exists()
    assert JobRun.objects.count() == JOBS * STARTS == check_runs()


def test_of_three_minutes_without_a_beat_the_newest_start_is_made_up_for(
    minutely: list[Job], beats: Beats
) -> None:
    """Rule 36: of the others each is on record as missed, of every job."""
    first = [beats(), beats()]
    until(lambda: Occurrence.objects.filter(outcome="started").count() >= JOBS)
    for one in first:
        end(one)
    known = set(Occurrence.objects.values_list("pk", flat=True))
    wait(AWAY)
    beats()
    beats()
    until(
        lambda: Occurrence.objects.exclude(pk__in=known).filter(outcome="started").count() >= JOBS
    )
    for job in minutely:
        fates = list(
            Occurrence.objects.filter(job=job)
            .exclude(pk__in=known)
            .order_by("planned_at")
            .values_list("outcome", flat=True)
        )
        assert fates[:3] == ["missed", "missed", "started"]
    assert not Occurrence.objects.exclude(outcome="started").exclude(outcome="missed").exists()
    # No minute is without its mark.
    for job in minutely:
        marks = Occurrence.objects.filter(job=job).order_by("planned_at")
        times = list(marks.values_list("planned_at", flat=True))
        assert times == [times[0] + timedelta(minutes=count) for count in range(len(times))]
    check_runs()
