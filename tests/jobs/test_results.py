"""How a run ends by its agent's report: once, as reported, whatever comes twice or too late."""

from __future__ import annotations

from uuid import uuid4

import pytest

from agents.models import Function
from jobs import sweeps, transitions
from jobs.models import JobRun, LateReport, StatusTransition
from jobs.starts import start_function
from sites.models import Event
from tests import factories
from tests.invariants import check_runs
from tests.jobs.passing import deadline_over, lease_over

pytestmark = pytest.mark.django_db


@pytest.fixture
def held(agent, press, edda):
    """A run of a function that leaves nothing, at work."""
    start_function(press, Function.objects.get(name="list"), by=edda)
    [run] = agent.api.claim()
    agent.api.move(run, "running")
    return run


@pytest.fixture
def backing_up(agent, job, edda):
    """A backup at work, with a secret among its parameters."""
    job.parameters = {"password": "geheim-123"}
    job.save()
    factories.run(job, by=edda)
    [run] = agent.api.claim()
    agent.api.move(run, "running")
    return run


def said(answer):
    return answer.status_code, answer.json()["code"]


def test_completed_is_success_and_full_progress(agent, held):
    counts = {"total": 4, "successful": 3, "failed": 0, "skipped": 1}
    answer = agent.api.finish(held, message="4 files.", summary="All read.", counts=counts)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": held["id"],
        "attempt": 1,
        "status": "completed",
        "result": "success",
    }
    assert "Idempotency-Replayed" not in answer
    run = JobRun.objects.get()
    assert (run.status, run.result, run.reason, run.progress) == ("completed", "success", "", 100)
    assert (run.message, run.summary, run.error) == ("4 files.", "All read.", "")
    assert (run.count_total, run.count_successful, run.count_failed, run.count_skipped) == (
        4,
        3,
        0,
        1,
    )
    assert run.finished_at is not None
    assert run.lease_until is None
    last = StatusTransition.objects.filter(run=run).latest("sequence")
    assert (last.to_status, last.agent, last.message) == ("completed", agent.agent, "4 files.")
    check_runs(all_final=True)


@pytest.mark.parametrize(
    ("counts", "result"),
    [(None, "success"), ({"total": 2}, "success"), ({"total": 2, "failed": 1}, "partial")],
)
def test_what_failed_in_part_is_partial(agent, held, counts, result):
    assert agent.api.finish(held, counts=counts).json()["result"] == result


@pytest.mark.parametrize(
    ("more", "reason"), [({}, "error"), ({"reason": "agent_restarted"}, "agent_restarted")]
)
def test_failed_keeps_its_error_and_its_progress(agent, held, more, reason):
    agent.api.move(held, "validating", progress=70)
    answer = agent.api.finish(held, "failed", error="No route to host.", **more)
    assert answer.json()["result"] == ""
    run = JobRun.objects.get()
    assert (run.status, run.reason, run.error, run.progress) == (
        "failed",
        reason,
        "No route to host.",
        70,
    )


def test_a_claimed_run_can_fail_and_cannot_complete(agent, press, edda):
    start_function(press, Function.objects.get(name="list"), by=edda)
    [run] = agent.api.claim()
    assert said(agent.api.finish(run)) == (409, "illegal_move")
    assert agent.api.finish(run, "failed", reason="agent_restarted").status_code == 200
    check_runs(all_final=True)


# --- the same again, another, too late -----------------------------------------------------------


def test_the_same_report_again_is_replayed(agent, held):
    first = agent.api.finish(held, message="Done.", counts={"total": 1})
    before = [model.objects.count() for model in (StatusTransition, Event, LateReport)]
    run = JobRun.objects.values().get()
    again = agent.api.finish(held, message="Done.", counts={"total": 1})
    assert (again.status_code, again.json()) == (200, first.json())
    assert again["Idempotency-Replayed"] == "true"
    assert [model.objects.count() for model in (StatusTransition, Event, LateReport)] == before
    assert JobRun.objects.values().get() == run


@pytest.mark.parametrize(
    "other", [{"message": "Else."}, {"status": "failed"}, {"counts": {"failed": 1}}, {"error": "x"}]
)
def test_another_report_is_a_conflict_and_changes_nothing(agent, held, other):
    agent.api.finish(held)
    run = JobRun.objects.values().get()
    assert said(agent.api.finish(held, **other)) == (409, "result_conflict")
    assert JobRun.objects.values().get() == run
    assert not LateReport.objects.exists()
    check_runs(all_final=True)


@pytest.mark.parametrize("ended_by", ["the lease", "the time limit"])
def test_a_late_report_is_kept_once_and_changes_nothing(agent, held, ended_by):
    """Rule 19: the agent was silent, the run timed out, and then it reports."""
    (lease_over if ended_by == "the lease" else deadline_over)(held)
    assert sweeps.sweep() == 1
    run = JobRun.objects.values().get()
    for _ in range(3):
        assert said(agent.api.finish(held, message="Done after all.")) == (409, "already_final")
    late = LateReport.objects.get()
    assert (late.attempt, late.agent) == (1, agent.agent)
    assert late.report["status"] == "completed"
    assert late.report["message"] == "Done after all."
    assert Event.objects.filter(kind="run.late_report").count() == 1
    # The first of them stays.
    assert said(agent.api.finish(held, "failed", error="Else.")) == (409, "already_final")
    assert LateReport.objects.get().report == late.report
    assert JobRun.objects.values().get() == run
    check_runs(all_final=True)


def test_the_wrong_attempt_ends_nothing(agent, press, edda):
    start_function(press, Function.objects.get(name="list"), by=edda)
    [run] = agent.api.claim()
    lease_over(run)
    sweeps.sweep()
    assert said(agent.api.finish(run, "failed")) == (409, "stale_attempt")
    [later] = agent.api.claim()
    for attempt in (1, 3):
        assert said(agent.api.finish(later | {"attempt": attempt}, "failed")) == (
            409,
            "stale_attempt",
        )
    assert JobRun.objects.get().status == "claimed"
    assert not LateReport.objects.exists()


def test_a_cancelled_run_is_not_reported(agent, press, edda):
    made = start_function(press, Function.objects.get(name="list"), by=edda)
    [run] = agent.api.claim()
    lease_over(run)
    sweeps.sweep()
    made.refresh_from_db()
    transitions.cancel(made, by=edda)
    assert said(agent.api.finish(run, "failed")) == (409, "stale_attempt")
    assert JobRun.objects.get().status == "canceled"
    check_runs(all_final=True)


def test_others_do_not_learn_that_the_run_exists(agent, held, works, elsewhere, alice, oscar):
    nothing = agent.api.finish(held | {"id": str(uuid4())})
    assert said(nothing) == (404, "not_found")
    for rival in (
        factories.enrolled(works, "rival", by=alice),
        factories.enrolled(elsewhere, "far", by=oscar),
    ):
        answer = rival.api.finish(held)
        assert (answer.status_code, answer.json()) == (404, nothing.json())
    assert JobRun.objects.get().status == "running"


# --- backups -------------------------------------------------------------------------------------


def test_a_backup_is_completed_only_after_its_seal(agent, backing_up):
    assert said(agent.api.finish(backing_up)) == (409, "not_sealed")
    assert JobRun.objects.get().status == "running"
    assert agent.api.finish(backing_up, "failed").status_code == 200
    check_runs(all_final=True)


@pytest.mark.parametrize("result", ["success", "up_to_date", None])
def test_the_result_is_the_portals_to_say(agent, held, result):
    answer = agent.api.finish(held, result=result)
    assert said(answer) == (422, "invalid")
    assert list(answer.json()["errors"]) == ["result"]
    assert JobRun.objects.get().status == "running"


# --- secrets -------------------------------------------------------------------------------------

LEAK = dict.fromkeys(("message", "error", "summary"), "It was geheim-123.")


def test_secrets_are_masked_in_all_texts_of_a_result(agent, backing_up):
    assert agent.api.finish(backing_up, "failed", **LEAK).status_code == 200
    run = JobRun.objects.get()
    assert {run.message, run.error, run.summary} == {"It was ••••."}
    assert "geheim" not in str(list(StatusTransition.objects.values()))
    assert "geheim" not in str(list(Event.objects.values()))
    # What was masked is the same report all the same.
    assert "Idempotency-Replayed" in agent.api.finish(backing_up, "failed", **LEAK)


def test_secrets_are_masked_in_a_late_report(agent, backing_up):
    lease_over(backing_up)
    sweeps.sweep()
    agent.api.finish(backing_up, "failed", **LEAK)
    report = LateReport.objects.get().report
    assert {report[name] for name in LEAK} == {"It was ••••."}
