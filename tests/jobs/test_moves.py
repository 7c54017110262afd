"""What an agent's PATCH does: running, validating, uploading, each once, by the holder alone."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from jobs import sweeps
from jobs.models import JobRun, StatusTransition
from sites.models import Event
from tests import factories
from tests.invariants import check_runs
from tests.jobs.passing import lease_over

pytestmark = pytest.mark.django_db
STEPS = ["running", "validating", "uploading"]


@pytest.fixture
def held(agent, job, edda):
    """A run that the agent has claimed."""
    factories.run(job, by=edda)
    return agent.api.claim()[0]


def test_running_starts_the_clock_once(agent, held):
    answer = agent.api.move(held, "running", message="Reading the folder.")
    assert answer.status_code == 200
    assert answer.json() == {"id": held["id"], "attempt": 1, "status": "running", "lease_s": 60}
    run = JobRun.objects.get()
    assert run.deadline_at - run.started_at == timedelta(seconds=held["run_timeout_s"])
    assert run.message == "Reading the folder."
    again = agent.api.move(held, "running", message="Again.")
    assert (again.status_code, again.json()) == (200, answer.json())
    same = JobRun.objects.get()
    assert (same.started_at, same.deadline_at, same.message) == (
        run.started_at,
        run.deadline_at,
        run.message,
    )
    assert StatusTransition.objects.filter(to_status="running").count() == 1
    assert Event.objects.filter(kind="run.running").count() == 1


@pytest.mark.parametrize(
    "path",
    [
        ["running", "validating", "uploading"],
        ["running", "uploading"],
        ["running", "validating"],
        ["running", "running", "validating", "validating", "uploading", "uploading"],
    ],
)
def test_the_ways_through_the_work(agent, held, path):
    for status in path:
        assert agent.api.move(held, status).json()["status"] == status
    assert JobRun.objects.get().status == path[-1]
    check_runs()


@pytest.mark.parametrize("made", STEPS)
@pytest.mark.parametrize("asked", STEPS)
def test_a_move_that_was_made_answers_with_the_present_run(agent, held, made, asked):
    """A repeated PATCH of the holder is no error, also when the run has gone on since."""
    for status in STEPS[: STEPS.index(made) + 1]:
        agent.api.move(held, status)
    answer = agent.api.move(held, asked)
    later = STEPS.index(asked) > STEPS.index(made)
    assert (answer.status_code, answer.json()["status"]) == (200, asked if later else made)


def test_a_step_that_was_left_out_cannot_be_made_afterwards(agent, held):
    agent.api.move(held, "running")
    agent.api.move(held, "uploading")
    answer = agent.api.move(held, "validating")
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_move")


@pytest.mark.parametrize("status", ["validating", "uploading"])
def test_a_claimed_run_starts_with_running(agent, held, status):
    answer = agent.api.move(held, status)
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_move")
    assert JobRun.objects.get().status == "claimed"


@pytest.mark.parametrize(
    "status", ["pending", "claimed", "completed", "failed", "canceled", "timed_out", "x"]
)
def test_an_agent_reports_no_other_status_by_a_move(agent, held, status):
    answer = agent.api.move(held, status)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert list(answer.json()["errors"]) == ["status"]
    check_runs()


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"attempt": 2}, 409, "stale_attempt"),
        ({"claim_id": str(uuid4())}, 409, "stale_attempt"),
        ({"id": str(uuid4())}, 404, "not_found"),
    ],
)
def test_only_the_holding_attempt_and_claim_move_a_run(agent, held, change, status, code):
    answer = agent.api.move(held | change, "running")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert JobRun.objects.get().status == "claimed"


def test_another_agents_run_is_one_that_does_not_exist(agent, held, works, elsewhere, alice, oscar):
    nothing = agent.api.move(held | {"id": str(uuid4())}, "running").json()
    for rival in (
        factories.enrolled(works, "rival", by=alice),
        factories.enrolled(elsewhere, "far", by=oscar),
    ):
        answer = rival.api.move(held, "running")
        assert (answer.status_code, answer.json()) == (404, nothing)


def test_a_lease_that_is_over_is_not_started(agent, held):
    """Rule 14: in a moment the run may be another's, though the sweep has not come yet."""
    lease_over(held, seconds=0.5)
    answer = agent.api.move(held, "running")
    assert (answer.status_code, answer.json()["code"]) == (409, "stale_attempt")
    assert sweeps.sweep() == 0
    lease_over(held)
    assert sweeps.sweep() == 1
    assert JobRun.objects.get().status == "pending"
    check_runs()


def test_the_earlier_attempt_moves_nothing(agent, held):
    lease_over(held)
    sweeps.sweep()
    [later] = agent.api.claim()
    for status in STEPS:
        answer = agent.api.move(held, status)
        assert (answer.status_code, answer.json()["code"]) == (409, "stale_attempt")
    assert agent.api.move(later, "running").status_code == 200
    check_runs()


@pytest.mark.parametrize("ending", ["completed", "failed"])
def test_a_run_that_has_ended_moves_no_more(agent, held, ending):
    agent.api.move(held, "running")
    JobRun.objects.update(verdict="up_to_date")
    assert agent.api.finish(held, ending).status_code == 200
    for status in STEPS:
        answer = agent.api.move(held, status)
        assert (answer.status_code, answer.json()["code"]) == (409, "already_final")
        assert answer.json()["run_status"] == ending
    check_runs(all_final=True)


def test_a_move_renews_the_lease_up_to_the_deadline(agent, held):
    agent.api.move(held, "running")
    lease_over(held, seconds=-5)
    before = JobRun.objects.get()
    agent.api.move(held, "validating")
    after = JobRun.objects.get()
    assert after.lease_until - before.lease_until > timedelta(seconds=50)
    JobRun.objects.update(deadline_at=after.started_at + timedelta(seconds=20))
    agent.api.move(held, "uploading")
    last = JobRun.objects.get()
    assert last.lease_until == last.deadline_at


def test_progress_never_falls(agent, held):
    for sent, shown in ((40, 40), (20, 40), (None, 40)):
        agent.api.move(
            held, {40: "running", 20: "validating"}.get(sent, "uploading"), progress=sent
        )
        assert JobRun.objects.get().progress == shown
    assert agent.api.move(held, "uploading", progress=101).status_code == 422
    assert agent.api.move(held, "uploading", progress=-1).status_code == 422


def test_a_secret_in_a_message_is_not_kept(agent, job, edda):
    job.parameters = {"password": "geheim-123"}
    job.save()
    factories.run(job, by=edda)
    [held] = agent.api.claim()
    agent.api.move(held, "running", message="Logging in with geheim-123 now.")
    assert JobRun.objects.get().message == "Logging in with •••• now."
    assert not StatusTransition.objects.filter(message__contains="geheim").exists()
