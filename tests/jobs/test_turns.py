"""The schedule of a site: all its marked jobs are queued in order, so many at once."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import F

from agents.models import Function
from jobs import definitions, making, planner, planning, sweeps, transitions, turns
from jobs.models import Job, JobRun, SiteSchedule
from jobs.states import Status
from sites import sql
from sites.models import Event, Site, User
from sites.problems import Refused
from tests import factories
from tests.factories import Enrolled
from tests.jobs.passing import pause_over, queue_limit_over

pytestmark = pytest.mark.django_db


@pytest.fixture
def night(hall: Site) -> SiteSchedule:
    planned = planning.of_site(hall)
    planned.schedule_kind, planned.schedule_time, planned.at_once = "daily", time(1), 2
    planning.save_for_site(planned)
    return planned


@pytest.fixture
def marked(hall: Site, backup: Function, edda: User, night: SiteSchedule) -> list[Job]:
    """Five jobs, in their order: by place, then by name."""
    jobs = []
    for name, place in (("E", 0), ("D", 2), ("B", 1), ("A", 1), ("C", 1)):
        job = factories.job(factories.target(hall, name), backup, owner=edda, name=name)
        job.schedule_kind, job.site_order = "site", place
        jobs.append(definitions.save(job, by=edda))
    return sorted(jobs, key=lambda job: (job.site_order, job.name))


def come(night: SiteSchedule) -> None:
    at = sql.clock() - timedelta(seconds=1)
    SiteSchedule.objects.filter(pk=night.pk).update(next_run_at=at)


def in_queue() -> list[str]:
    """Which runs an agent may take, the first one first."""
    runs = JobRun.objects.pending().exclude(queue=None).order_by("priority", "created_at", "id")
    return [run.name for run in runs]


def test_jobs_enter_their_queues_in_order_and_so_many_at_once(
    night: SiteSchedule, marked: list[Job], agent: Enrolled
) -> None:
    assert [job.name for job in marked] == ["E", "A", "B", "C", "D"]
    come(night)
    assert planner.plan() == 5
    assert JobRun.objects.filter(in_turn=True, occurrence__outcome="started").count() == 5
    assert sorted(in_queue()) == ["A", "E"]
    first = agent.api.claim(most=10)
    assert {run["target"]["name"] for run in first} == {"A", "E"}
    assert turns.release() == 0
    agent.api.move(first[0], "running")
    agent.api.finish(first[0], status="failed")
    assert planner.plan() == 0  # nothing is due; a turn has come
    assert in_queue() == ["B"]
    # One that is cancelled makes room as well, also while it waits outside.
    waiting = JobRun.objects.get(name="C")
    transitions.cancel(waiting, by=waiting.started_by)
    transitions.cancel(JobRun.objects.get(name="B"), by=waiting.started_by)
    assert turns.release() == 1
    assert in_queue() == ["D"]
    assert planner.plan() == 0


def test_what_an_agent_ends_lets_the_next_one_go_without_a_tick(
    night: SiteSchedule, marked: list[Job], agent: Enrolled, listing: Function,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    """Alone, and many at once: a night of short runs is not a tick for each."""
    Job.objects.update(function=listing)
    come(night)
    planner.plan()
    one, other = agent.api.claim(most=10)
    for run in (one, other):
        agent.api.move(run, "running")
    with django_capture_on_commit_callbacks(execute=True):
        agent.api.finish(one)
    assert len(in_queue()) == 1
    ended = {"id": other["id"], "attempt": 1, "status": "completed", "message": ""}
    with django_capture_on_commit_callbacks(execute=True):
        agent.api.put("results", {"results": [ended]})
    assert sorted(in_queue()) == ["B", "C"]


def test_a_turn_wakes_agents_and_begins_the_longest_wait(
    night: SiteSchedule, marked: list[Job]
) -> None:
    come(night)
    planner.plan()
    outside = JobRun.objects.filter(next_queue__isnull=False)
    assert set(outside.values_list("queue_until", flat=True)) == {None}
    assert sweeps.sweep() == 0
    for run in JobRun.objects.exclude(queue=None):
        queue_limit_over(run)
    assert sweeps.sweep() == 2
    Event.objects.all().delete()
    assert turns.release() == 2
    told = Event.objects.filter(kind="run.pending")
    entered = JobRun.objects.pending().exclude(queue=None)
    assert {event.data["queue"] for event in told} == {run.queue_id for run in entered}
    for run in entered:
        assert run.queue_until is not None
        assert timedelta(0) < run.queue_until - sql.clock() <= timedelta(days=1)


def test_a_job_is_unmarked_switched_off_or_archived_and_stays_behind(
    night: SiteSchedule, marked: list[Job], edda: User
) -> None:
    marked[0].enabled = False
    definitions.save(marked[0], by=edda)
    marked[1].schedule_kind = ""
    definitions.save(marked[1], by=edda)
    definitions.archive(marked[2], by=edda)
    come(night)
    assert planner.plan() == 2
    assert {run.name for run in JobRun.objects.all()} == {"C", "D"}


def test_a_site_is_told_its_times_and_limits_in_the_words_of_the_field(hall: Site) -> None:
    planned = planning.of_site(hall)
    planned.schedule_kind = "cron"
    planned.schedule_cron = "0 0 30 2 *"
    with pytest.raises(Refused) as refused:
        planning.save_for_site(planned)
    assert (refused.value.errors or {}).keys() == {"schedule.cron"}
    planned.schedule_kind = "site"
    with pytest.raises(Refused) as refused:
        planning.save_for_site(planned)
    assert (refused.value.errors or {}).keys() == {"schedule.kind"}
    assert not SiteSchedule.objects.exists()


def test_a_schedule_of_a_site_that_cannot_be_planned_says_so(
    night: SiteSchedule, marked: list[Job]
) -> None:
    come(night)
    SiteSchedule.objects.update(schedule_kind="cron", schedule_cron="never")
    assert planner.plan() == 0
    night.refresh_from_db()
    assert night.next_run_at is None
    assert "five fields" in night.schedule_fault


def test_missed_and_overlapping_starts_of_a_site_are_on_record_by_job(
    night: SiteSchedule, marked: list[Job], edda: User
) -> None:
    busy = factories.run(marked[0], by=edda)
    assert busy.status == Status.PENDING
    come(night)
    assert planner.plan() == 4
    assert list(marked[0].occurrences.values_list("outcome", "reason")) == [("skipped", "overlap")]
    at = sql.clock() - timedelta(hours=2)
    SiteSchedule.objects.filter(pk=night.pk).update(next_run_at=at)
    assert planner.plan() == 0
    assert all(job.occurrences.filter(outcome="missed").count() == 1 for job in marked)


def test_a_site_that_fails_stays_due_and_stops_no_other(
    night: SiteSchedule, marked: list[Job], elsewhere_job: Job, edda: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Such as by a lock that the database did not give."""
    other = planning.of_site(elsewhere_job.site)
    other.schedule_kind, other.schedule_time = "daily", time(1)
    planning.save_for_site(other)
    elsewhere_job.schedule_kind = "site"
    definitions.save(elsewhere_job, by=edda)
    real = planner._start_site

    def fail(due: SiteSchedule) -> int:
        if due.pk == night.pk:
            raise OperationalError("no lock")
        return real(due)

    with monkeypatch.context() as patch:
        patch.setattr(planner, "_start_site", fail)
        come(night)
        come(other)
        assert planner.plan() == 1
    assert JobRun.objects.get().job == elsewhere_job
    assert planner.plan() == 5


def test_a_job_that_fails_stops_no_other_of_its_site(
    night: SiteSchedule, marked: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on record; the others start."""
    real, broken = making.make, marked[1].pk

    def fail(wanted: list[making.Wanted]) -> list[int]:
        if any(one.job == broken for one in wanted):
            raise RuntimeError("out of order")
        return real(wanted)

    monkeypatch.setattr(making, "make", fail)
    come(night)
    assert planner.plan() == 4
    skipped = marked[1].occurrences.get()
    assert (skipped.reason, "out of order" in skipped.message) == ("refused", True)
    assert len(in_queue()) == 2


def test_what_a_pause_holds_up_keeps_nobody_from_going(
    night: SiteSchedule, marked: list[Job], edda: User
) -> None:
    come(night)
    planner.plan()
    assert sorted(in_queue()) == ["A", "E"]
    until = sql.clock() + timedelta(days=300)
    definitions.pause(marked[0], until=until, reason="New bearings", by=edda)
    definitions.pause(marked[2], until=until, reason="New bearings", by=edda)
    planner.plan()
    assert sorted(in_queue()) == ["A", "C"]
    # It goes before those behind it, and not beside so many.
    pause_over(marked[0])
    planner.plan()
    assert sorted(in_queue()) == ["A", "C"]
    transitions.cancel(JobRun.objects.get(name="A"), by=edda)
    planner.plan()
    assert sorted(in_queue()) == ["C", "E"]


def test_what_a_pause_held_up_waits_no_longer_than_its_limit_once_it_is_in_its_queue(
    night: SiteSchedule, marked: list[Job], edda: User
) -> None:
    """However long the pause was: the wait that begins anew is the job's."""
    Job.objects.update(queue_timeout_s=120)
    come(night)
    planner.plan()
    until = sql.clock() + timedelta(days=300)
    definitions.pause(marked[0], until=until, reason="New bearings", by=edda)
    planner.plan()
    JobRun.objects.update(created_at=F("created_at") - timedelta(days=7))
    SiteSchedule.objects.update(at_once=5)
    pause_over(marked[0], minutes=1)
    planner.plan()
    held_up = JobRun.objects.get(job=marked[0], queue__isnull=False)
    queue_limit_over(held_up)
    assert sweeps.sweep() == 0
    pause_over(marked[0], minutes=3)
    assert sweeps.sweep() == 1


def test_a_change_of_a_sites_schedule_loses_no_start_that_is_due(
    night: SiteSchedule, marked: list[Job]
) -> None:
    come(night)
    night.at_once = 3
    planning.save_for_site(night)
    assert planner.plan() == 5
    assert len(in_queue()) == 3
