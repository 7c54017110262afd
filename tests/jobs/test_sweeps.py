"""What ends by itself, when, and as what."""

from __future__ import annotations

import pytest
from django.db.models import F

from agents.models import Function
from jobs import sweeps
from jobs.models import JobRun, StatusTransition
from jobs.starts import start_function
from sites.models import Event
from tests import factories
from tests.invariants import check_runs
from tests.jobs.passing import deadline_over, lease_over, queue_limit_over

pytestmark = pytest.mark.django_db
PATH = ["claimed", "running", "validating", "uploading"]


@pytest.fixture
def reach(agent, job, edda):
    """Bring a run to an active status; gives what the agent holds."""

    def go(status):
        made = factories.run(job, by=edda)
        if status == "pending":
            return made
        [run] = agent.api.claim()
        for step in PATH[1 : PATH.index(status) + 1]:
            assert agent.api.move(run, step).status_code == 200
        return run

    return go


# Agent killed or stopped in each status: what becomes of the run (rules 14 and 29).
SILENT = {
    "pending": ("pending", ""),
    "claimed": ("pending", ""),
    "running": ("timed_out", "agent_lost"),
    "validating": ("timed_out", "agent_lost"),
    "uploading": ("timed_out", "agent_lost"),
}


@pytest.mark.parametrize("status", SILENT)
def test_a_silent_agents_run(reach, agent, status):
    run = reach(status)
    assert sweeps.sweep() == 0
    if status != "pending":
        lease_over(run, seconds=9)
        assert sweeps.sweep() == 0, "the portal waits a little longer than the agent"
        lease_over(run)
    expected = SILENT[status]
    assert sweeps.sweep() == (0 if status == "pending" else 1)
    assert sweeps.sweep() == 0
    found = JobRun.objects.get()
    assert (found.status, found.reason) == expected
    assert found.attempt == (0 if status == "pending" else 1)
    if status != "pending":
        last = StatusTransition.objects.filter(run=found).latest("sequence")
        assert (last.user, last.agent) == (None, None)
        assert "hall-agent" in last.message
    if expected[0] == "pending":
        assert (found.agent, found.claim, found.lease_until) == (None, None, None)
        assert len(agent.api.claim()) == 1
    check_runs()


@pytest.mark.parametrize("status", PATH[1:])
def test_the_time_limit_wins_over_the_lease(reach, status):
    run = reach(status)
    deadline_over(run)
    if status == "uploading":
        lease_over(run)
    assert sweeps.sweep() == 1
    found = JobRun.objects.get()
    assert (found.status, found.reason) == ("timed_out", "deadline")
    assert found.finished_at is not None
    check_runs(all_final=True)


def test_the_time_limit_counts_from_the_start_and_not_for_a_claim(reach):
    reach("claimed")
    JobRun.objects.update(run_timeout_s=10)
    assert JobRun.objects.get().deadline_at is None
    assert sweeps.sweep() == 0


def test_a_claim_goes_back_three_times_and_then_times_out(reach, agent):
    run = reach("claimed")
    for losses in (1, 2, 3):
        lease_over(run)
        sweeps.sweep()
        found = JobRun.objects.get()
        assert (found.status, found.lease_losses) == ("pending", losses)
        [run] = agent.api.claim()
        assert run["attempt"] == losses + 1
    lease_over(run)
    sweeps.sweep()
    found = JobRun.objects.get()
    assert (found.status, found.reason, found.attempt) == ("timed_out", "agent_lost", 4)
    reasons = StatusTransition.objects.filter(from_status="claimed").values_list(
        "to_status", "reason"
    )
    assert list(reasons) == [("pending", "lease_ended")] * 3 + [("timed_out", "agent_lost")]
    check_runs(all_final=True)


def test_a_run_that_nobody_takes_times_out(reach, agent):
    run = reach("pending")
    queue_limit_over(run)
    assert sweeps.sweep() == 1
    found = JobRun.objects.get()
    assert (found.status, found.reason) == ("timed_out", "never_claimed")
    assert agent.api.claim() == []
    check_runs(all_final=True)


def test_the_queue_limit_does_not_count_once_a_run_is_taken(reach):
    reach("claimed")
    JobRun.objects.update(queue_until=F("created_at"))
    assert sweeps.sweep() == 0


def test_more_than_one_transaction_holds_is_swept_as_well(agent, hall, edda, monkeypatch):
    monkeypatch.setattr(sweeps, "BATCH", 4)
    listing = Function.objects.get(name="list")
    made = [
        start_function(factories.target(hall, f"Line {number}"), listing, by=edda)
        for number in range(10)
    ]
    for run in made:
        queue_limit_over(run)
    assert sweeps.sweep() == 10
    assert Event.objects.filter(kind="run.timed_out").count() == 10
    assert check_runs(all_final=True) == 10
