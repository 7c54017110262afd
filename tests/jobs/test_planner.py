"""Jobs that start by themselves: once each, on time, or with the reason on record (S0-06)."""

from __future__ import annotations

import json
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from agents import enrolment
from agents.models import FunctionVersion
from jobs import definitions, making, planner, starts
from jobs.models import Job, JobRun
from jobs.states import Status
from sites import sql
from sites.access import set_role
from sites.models import Event, Target, User
from sites.places import pause_site, save_target
from tests import factories
from tests.factories import Enrolled
from tests.people import API

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
# Of the second four are savepoints.
IDLE, AT_WORK = 5, 20


@pytest.fixture
def nightly(job: Job, agent: Enrolled, edda: User) -> Job:
    """A job that starts every night at two in Berlin."""
    job.schedule_kind, job.schedule_time = "daily", time(2)
    return definitions.save(job, by=edda)


def due(job: Job, *, ago: timedelta = timedelta(seconds=1)) -> datetime:
    """Let a job's next start have come; the clock itself is the database's."""
    at = sql.clock() - ago
    Job.objects.filter(pk=job.pk).update(next_run_at=at)
    return at


def fates(job: Job) -> list[tuple[str, str]]:
    return list(job.occurrences.order_by("planned_at").values_list("outcome", "reason"))


def test_a_start_is_late_when_its_run_was_made_a_minute_after_its_time(
    nightly: Job, edda: User
) -> None:
    Job.objects.filter(pk=nightly.pk).update(overlap="allow")
    for late in (30, 300, 3000):
        due(nightly, ago=timedelta(seconds=late))
        planner.plan()
    found = list(nightly.occurrences.order_by("late_s"))
    assert [(one.outcome, one.is_late) for one in found] == [
        ("started", False),
        ("started", True),
        ("missed", False),
    ]
    for one, late in zip(found, (30, 300, 3000), strict=True):
        assert late <= one.late_s <= late + 20
    for one in found[:2]:
        made = (one.run.created_at - one.planned_at).total_seconds()
        assert abs(made - one.late_s) < 5
    api = API(edda)
    answered = api.get("occurrences", late="true").json()["results"]
    assert [row["late_s"] for row in answered] == [found[1].late_s]
    on_time = api.get("occurrences", late="false").json()["results"]
    assert [row["late_s"] for row in on_time] == [found[0].late_s]


def test_a_time_that_has_come_is_a_run_once(nightly: Job, edda: User) -> None:
    assert planner.plan() == 0
    at = due(nightly)
    assert planner.plan() == 1
    assert planner.plan() == 0
    run = JobRun.objects.get(job=nightly)
    started = nightly.occurrences.get()
    assert (run.occurrence, run.started_by, run.status) == (started, edda, Status.PENDING)
    assert (started.planned_at, started.outcome, started.reason) == (at, "started", "")
    first = run.transitions.get()
    assert (first.sequence, first.user, first.message) == (1, None, "Started by its schedule.")
    nightly.refresh_from_db()
    assert nightly.next_run_at is not None
    assert nightly.next_run_at > sql.clock()
    assert nightly.next_run_at.astimezone(BERLIN).time() == time(2)


def test_a_planned_run_is_what_backup_now_makes(nightly: Job, agent: Enrolled, edda: User) -> None:
    """Both go through one statement: an agent is given the same."""
    nightly.parameters = {"exclude": ["*.tmp"], "password": "open sesame"}
    nightly.tags, nightly.external_id, nightly.auto_commit = ["night", "ü"], "4711", False
    definitions.save(nightly, by=edda)
    by_hand = factories.run(nightly, by=edda)
    [first] = agent.api.claim()
    agent.api.move(first, "running")
    agent.api.finish(first, status="failed")
    due(nightly)
    planner.plan()
    planned = JobRun.objects.get(job=nightly, occurrence__isnull=False)
    own = {"id", "public_id", "occurrence", "created_at", "updated_at", "queue_until"}
    theirs = {"status", "sequence", "attempt", "claim", "agent", "lease_until", "deadline_at"}
    what_came_of_it = {"started_at", "finished_at", "duration_s", "reason", "message", "error",
        "report_hash", "actual_version", "progress"}  # fmt: skip
    for field in JobRun._meta.concrete_fields:
        if field.name not in own | theirs | what_came_of_it:
            assert getattr(planned, field.attname) == getattr(by_hand, field.attname), field.name
    assert planned.queue_until is not None
    assert planned.queue_until - planned.created_at == timedelta(seconds=nightly.queue_limit_s)
    [second] = agent.api.claim()
    assert second["parameters"] == first["parameters"]


LATE, GRACE = timedelta(minutes=11), timedelta(minutes=10)


@pytest.mark.parametrize(
    ("every", "ago", "grace", "expected"),
    [
        # The portal was away for a moment.
        ("0 2 * * *", timedelta(minutes=9), GRACE, [("started", "")]),
        # It was away for longer than the job's grace.
        ("0 2 * * *", LATE, GRACE, [("missed", "too_late")]),
        ("0 2 * * *", LATE, timedelta(hours=1), [("started", "")]),
        # Of several times that have come the newest starts.
        (
            "* * * * *",
            timedelta(minutes=2, seconds=30),
            GRACE,
            [("missed", "too_late"), ("missed", "too_late"), ("started", "")],
        ),
    ],
)
def test_what_was_missed_is_made_up_for_within_its_grace(
    job: Job,
    edda: User,
    every: str,
    ago: timedelta,
    grace: timedelta,
    expected: list[tuple[str, str]],
) -> None:
    job.schedule_kind, job.schedule_cron = "cron", every
    job.grace_s = int(grace.total_seconds())
    definitions.save(job, by=edda)
    due(job, ago=ago)
    started = sum(outcome == "started" for outcome, _ in expected)
    assert planner.plan() == started
    # Times of a cron by minutes lie on whole minutes: at most one more or less than the gap says.
    assert fates(job)[-2:] == expected[-2:]
    assert len(fates(job)) in (len(expected), len(expected) + 1)
    told = Event.objects.filter(kind="job.missed", subject_id=job.public_id)
    assert told.count() == (expected[0][0] == "missed")
    if expected[0][0] == "missed":
        assert told.get().data["number"] == len(fates(job)) - started


def test_thousands_of_missed_times_are_all_on_record(job: Job, edda: User) -> None:
    """In bites, so that no statement and no transaction grows with the time that was lost."""
    job.schedule_kind, job.schedule_cron = "cron", "* * * * *"
    definitions.save(job, by=edda)
    due(job, ago=timedelta(minutes=1200))
    made = [planner.plan() for _ in range(4)]
    assert sum(made) == 1
    outcomes = [outcome for outcome, _ in fates(job)]
    assert outcomes.count("started") == 1
    assert len(outcomes) in (1201, 1202)


@pytest.mark.parametrize(
    ("overlap", "at_work", "expected"),
    [
        ("skip", [], ("started", "")),
        ("skip", ["pending"], ("skipped", "overlap")),
        ("skip", ["running"], ("skipped", "overlap")),
        ("queue", [], ("started", "")),
        ("queue", ["running"], ("started", "")),
        ("queue", ["pending"], ("skipped", "overlap")),
        ("allow", ["running"], ("started", "")),
        ("allow", ["running", "pending"], ("started", "")),
    ],
)
def test_what_overlaps_waits_or_is_skipped_as_the_job_says(
    nightly: Job,
    agent: Enrolled,
    edda: User,
    overlap: str,
    at_work: list[str],
    expected: tuple[str, str],
) -> None:
    nightly.overlap = "allow"
    definitions.save(nightly, by=edda)
    for status in at_work:
        factories.run(nightly, by=edda)
        if status == "running":
            [claimed] = agent.api.claim()
            agent.api.move(claimed, "running")
    nightly.overlap = overlap
    definitions.save(nightly, by=edda)
    due(nightly)
    planner.plan()
    assert fates(nightly) == [expected]
    assert nightly.runs.count() == len(at_work) + (expected[0] == "started")


def test_a_pause_swallows_starts_and_they_are_on_record(nightly: Job, edda: User) -> None:
    soon: dict[str, Any] = {"until": sql.clock() + timedelta(hours=1), "by": edda}
    definitions.pause(nightly, reason="New bearings", **soon)
    due(nightly)
    assert planner.plan() == 0
    definitions.resume(nightly)
    pause_site(nightly.site, reason="Holidays", **soon)
    due(nightly)
    assert planner.plan() == 0
    assert fates(nightly) == [("skipped", "paused")] * 2
    first, second = nightly.occurrences.order_by("planned_at")
    assert first.message == f"Job {nightly.name} was paused."
    assert second.message == f"Site {nightly.site.name} was paused."
    assert Event.objects.filter(kind="job.skipped", subject_id=nightly.public_id).count() == 2


def test_what_backup_now_would_refuse_is_skipped_in_the_same_words(
    nightly: Job, agent: Enrolled, alice: User, edda: User
) -> None:
    fixed = factories.job(nightly.target, nightly.function, owner=edda, name="Fixed")
    fixed.schedule_kind, fixed.schedule_time = "daily", time(3)
    fixed.assignment, fixed.agent = "agent", agent.agent
    definitions.save(fixed, by=alice)
    # A newer version of the function no longer takes what the job was saved with.
    nightly.parameters = {"exclude": ["x"]}
    definitions.save(nightly, by=edda)
    newer = json.loads(json.dumps(factories.FOLDER)) | {"version": "2.0"}
    newer["functions"][0]["parameters"]["properties"].pop("exclude")
    agent.api.post("hello", {"version": "1", "platform": "Linux", "tools": [newer]})
    enrolment.retire(agent.agent, by=alice)
    for one in (nightly, fixed):
        due(one)
    assert planner.plan() == 0
    assert fates(nightly) == fates(fixed) == [("skipped", "refused")]
    assert fixed.occurrences.get().message == (
        f"Agent “{agent.agent}” is retired; give job “Fixed” another one."
    )
    assert nightly.occurrences.get().message == "folder.backup does not take these parameters."


@pytest.mark.parametrize("off", ["disabled", "archived", "on demand"])
def test_what_is_switched_off_starts_nothing_and_owes_nothing(
    nightly: Job, edda: User, off: str
) -> None:
    if off == "archived":
        definitions.archive(nightly, by=edda)
    else:
        nightly.enabled = off != "disabled"
        nightly.schedule_kind = "" if off == "on demand" else "daily"
        definitions.save(nightly, by=edda)
    nightly.refresh_from_db()
    assert nightly.next_run_at is None
    assert planner.plan() == 0
    assert fates(nightly) == []
    if off == "disabled":
        assert factories.run(nightly, by=edda).status == Status.PENDING
        nightly.enabled = True
        definitions.save(nightly, by=edda)
        assert nightly.next_run_at is not None
        assert nightly.next_run_at > sql.clock()


def test_a_broken_schedule_is_shown_and_stops_no_other(
    nightly: Job, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = factories.job(nightly.target, nightly.function, owner=edda, name="Broken")
    other.schedule_kind, other.schedule_time = "daily", time(3)
    definitions.save(other, by=edda)
    for one in (nightly, other):
        due(one)
    Job.objects.filter(pk=other.pk).update(schedule_kind="cron", schedule_cron="never")
    assert planner.plan() == 1
    assert fates(nightly) == [("started", "")]
    other.refresh_from_db()
    assert (other.next_run_at, fates(other)) == (None, [])
    assert "five fields" in other.schedule_fault
    assert Event.objects.filter(subject_id=other.public_id, data__has_key="fault").exists()
    # Saved with times that can be, it goes on.
    other.schedule_kind, other.schedule_time = "daily", time(3)
    definitions.save(other, by=edda)
    other.refresh_from_db()
    assert (other.schedule_fault, other.next_run_at is None) == ("", False)


def test_an_edit_loses_no_start_that_is_due(nightly: Job, edda: User) -> None:
    at = due(nightly)
    opened = Job.objects.get(pk=nightly.pk)
    opened.name = "Renamed"
    definitions.save(opened, by=edda)
    opened.refresh_from_db()
    assert opened.next_run_at == at
    # Also where the times are others from then on.
    opened.schedule_time = time(4)
    definitions.save(opened, by=edda)
    assert planner.plan() == 1
    assert opened.occurrences.get().planned_at == at
    opened.refresh_from_db()
    assert opened.next_run_at is not None
    assert opened.next_run_at.astimezone(BERLIN).time() == time(4)


def test_a_clock_that_is_set_back_starts_nothing_twice(nightly: Job) -> None:
    """As after an hour that the portal's clock ran ahead: the time is due again, and known."""
    at = due(nightly)
    assert planner.plan() == 1
    nightly.runs.update(status="canceled", finished_at=sql.clock())
    Job.objects.filter(pk=nightly.pk).update(next_run_at=at)
    assert planner.plan() == 0
    assert nightly.runs.count() == 1
    nightly.refresh_from_db()
    assert nightly.next_run_at is not None
    assert nightly.next_run_at > at


def test_credentials_go_to_planned_runs_as_their_owner_may_give_them(
    nightly: Job, press: Target, alice: User, manuel: User
) -> None:
    save_target(press, credential=factories.credential(press.organization, by=alice))
    theirs = factories.job(press, nightly.function, owner=manuel, name="Manuel's")
    theirs.schedule_kind, theirs.schedule_time = "daily", time(3)
    definitions.save(theirs, by=manuel)
    for one in (nightly, theirs):
        due(one)
    assert planner.plan() == 2
    press.refresh_from_db()
    assert nightly.runs.get().credential == press.credential
    assert theirs.runs.get().credential is None


def test_a_handful_of_statements_whatever_their_number(
    nightly: Job, edda: User, django_assert_num_queries: Any
) -> None:
    """Nothing due: one. One job or forty: the same few."""
    with django_assert_num_queries(IDLE):
        planner.plan()
    due(nightly)
    planner.plan()  # makes the queue
    nightly.runs.update(status="canceled", finished_at=sql.clock())
    for number in (1, 40):
        for n in range(number):
            one = factories.job(nightly.target, nightly.function, owner=edda, name=f"{number}.{n}")
            one.schedule_kind, one.schedule_time, one.overlap = "daily", time(3), "allow"
            definitions.save(one, by=edda)
            due(one)
        # Only PostgreSQL locks places by themselves.
        with django_assert_num_queries(AT_WORK + 2 * sql.on_postgresql()):
            assert planner.plan() == number


def test_of_times_that_come_in_bites_only_the_newest_starts(
    job: Job, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.schedule_kind, job.schedule_cron, job.grace_s = "cron", "* * * * *", 7 * 24 * 3600
    definitions.save(job, by=edda)
    monkeypatch.setattr(planner, "MOST_TIMES_OF_ALL", 10)
    due(job, ago=timedelta(minutes=25))
    assert sum(planner.plan() for _ in range(4)) == 1
    newest = job.occurrences.order_by("-planned_at").first()
    assert newest is not None
    assert newest.outcome == "started"
    assert sql.clock() - newest.planned_at < timedelta(minutes=1)


@pytest.mark.parametrize("fault", [OperationalError("deadlock detected"), RuntimeError("broken")])
def test_the_databases_moment_is_no_fault_of_the_job(
    nightly: Job, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    at = due(nightly)

    def fail(wanted: object) -> list[int]:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(making, "make", fail)
        assert planner.plan() == 0
    nightly.refresh_from_db()
    if isinstance(fault, OperationalError):
        assert (nightly.next_run_at, nightly.schedule_fault) == (at, "")
        assert planner.plan() == 1
    else:
        assert (nightly.next_run_at, planner.plan()) == (None, 0)
        assert "broken" in nightly.schedule_fault


@pytest.mark.parametrize("left", ["role", "account"])
def test_a_job_whose_owner_may_not_start_it_waits_for_another_one(
    nightly: Job, edda: User, left: str
) -> None:
    if left == "role":
        set_role(edda, None, on=nightly.site)
    else:
        User.objects.filter(pk=edda.pk).update(is_active=False)
    due(nightly)
    assert planner.plan() == 0
    skipped = nightly.occurrences.get()
    assert (skipped.reason, "may not start it any more" in skipped.message) == ("refused", True)


def test_parameters_that_something_else_changed_are_checked_again(
    nightly: Job, alice: User, edda: User, agent: Enrolled
) -> None:
    """Clearing secrets for a new address may take what the function needs."""
    needs = json.loads(json.dumps(factories.FOLDER)) | {"version": "3.0"}
    needs["functions"][0]["parameters"]["required"] = ["password"]
    agent.api.post("hello", {"version": "1", "platform": "Linux", "tools": [needs]})
    nightly.parameters = {"password": "open sesame"}
    definitions.save(nightly, by=edda)
    save_target(nightly.target, clear_secrets=True, address="10.20.4.99")
    due(nightly)
    assert planner.plan() == 0
    assert nightly.occurrences.get().message == "folder.backup does not take these parameters."


def test_a_version_that_came_since_is_asked_once_whatever_the_clocks_say(
    nightly: Job, edda: User, agent: Enrolled
) -> None:
    """That a version is another one decides, not when which process says that it came."""
    definitions.save(nightly, by=edda)
    newer = json.loads(json.dumps(factories.FOLDER)) | {"version": "3.0"}
    agent.api.post("hello", {"version": "1", "platform": "Linux", "tools": [newer]})
    version = FunctionVersion.objects.get(function=nightly.function, version="3.0")
    FunctionVersion.objects.exclude(pk=version.pk).update(created_at=Now() - timedelta(hours=3))
    FunctionVersion.objects.filter(pk=version.pk).update(created_at=Now() - timedelta(hours=2))
    due(nightly)
    assert planner.plan() == 1
    nightly.refresh_from_db()
    assert nightly.checked_version == version


def test_a_start_goes_by_what_is_stored_when_it_holds_the_job(
    job: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    """A press on a page that was opened before the job was given to one agent alone."""
    opened = Job.objects.select_related("site", "target", "function", "owner").get(pk=job.pk)
    stored = Job.objects.get(pk=job.pk)
    stored.assignment, stored.agent = "agent", agent.agent
    definitions.save(stored, by=alice)
    run = starts.start_run(opened, by=edda).run
    assert run.queue is not None
    assert (run.requested_agent, run.queue.agent) == (agent.agent, agent.agent)
