"""The table of moves, cell by cell, and that the database and the rules both hold it."""

from __future__ import annotations

import itertools

import pytest
from django.db import IntegrityError, connection, transaction

from jobs import moves, transitions
from jobs.models import JobRun, StatusTransition
from jobs.states import ACTIVE, FINAL, MOVES, OUTCOMES, Result, Status, chip
from tests import factories

LEGAL = {
    ("pending", "claimed"),
    ("pending", "canceled"),
    ("pending", "timed_out"),
    ("claimed", "pending"),
    ("claimed", "running"),
    ("claimed", "failed"),
    ("claimed", "timed_out"),
    ("running", "validating"),
    ("running", "uploading"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "timed_out"),
    ("validating", "uploading"),
    ("validating", "completed"),
    ("validating", "failed"),
    ("validating", "timed_out"),
    ("uploading", "completed"),
    ("uploading", "failed"),
    ("uploading", "timed_out"),
}
CELLS = list(itertools.product(Status.values, Status.values))


@pytest.mark.once
@pytest.mark.parametrize(("one", "other"), CELLS)
def test_each_move_is_as_the_domain_says(one, other):
    """S3-36 … S3-44: which moves there are."""
    assert (Status(other) in MOVES[Status(one)]) == ((one, other) in LEGAL)


@pytest.mark.once
def test_final_states_have_no_way_out_and_active_ones_have():
    assert {str(s) for s in FINAL} == {"completed", "failed", "canceled", "timed_out"}
    assert all(not MOVES[s] for s in FINAL)
    assert all(MOVES[s] & FINAL for s in ACTIVE)


@pytest.fixture
def at(job, agent, edda):
    """Bring a run to a status by its real moves."""

    def bring(status: str) -> JobRun:
        made = factories.run(job, by=edda)
        if status == "canceled":
            return transitions.cancel(made, by=edda)
        if status != "pending":
            claimed = agent.api.claim()[0]
            path = {
                "claimed": [],
                "running": ["running"],
                "validating": ["running", "validating"],
                "uploading": ["running", "validating", "uploading"],
                "completed": ["running"],
                "failed": ["running"],
                "timed_out": ["running"],
            }[status]
            for step in path:
                assert agent.api.move(claimed, step).status_code == 200
            if status == "completed":
                JobRun.objects.filter(pk=made.pk).update(verdict=Result.UP_TO_DATE)
            if status in ("completed", "failed"):
                assert agent.api.finish(claimed, status).status_code == 200
        made.refresh_from_db()
        if status == "timed_out":
            with transaction.atomic():
                assert transitions.move(made, Status.TIMED_OUT, by=moves.PORTAL, reason="deadline")
            made.refresh_from_db()
        assert made.status == status
        return made

    return bring


@pytest.mark.parametrize("one", Status.values)
def test_the_rule_makes_legal_moves_only_and_writes_their_history(at, agent, one):
    run = at(one)
    before = StatusTransition.objects.filter(run=run).count()
    columns = {
        "completed": {"result": "success"},
        "claimed": {"agent": agent.agent, "lease_until": run.created_at},
    }
    for other in Status.values:
        with transaction.atomic():
            moved = transitions.move(
                run, Status(other), by=moves.PORTAL, columns=columns.get(other, {})
            )
            run.refresh_from_db()
            history = list(StatusTransition.objects.filter(run=run).order_by("sequence"))
            # The next one begins where this one did.
            transaction.set_rollback(True)
        assert moved == ((one, other) in LEGAL), other
        assert run.status == (other if moved else one)
        assert len(history) == before + moved == run.sequence
        # A path without a gap, from nothing to the present status (I4).
        assert [t.sequence for t in history] == list(range(1, len(history) + 1))
        assert all(a.to_status == b.from_status for a, b in itertools.pairwise(history))
        assert history[-1].to_status == run.status
        run.refresh_from_db()


@pytest.mark.parametrize(
    ("status", "columns"),
    [
        ("completed", {"result": "success"}),  # final without finished_at
        ("completed", {}),  # completed without a result
        ("failed", {"result": "success"}),
        ("running", {}),  # executing without an agent
        ("nonsense", {}),
    ],
)
def test_the_database_refuses_rows_that_no_rule_makes(at, status, columns):
    run = at("pending")
    with pytest.raises(IntegrityError), transaction.atomic():
        JobRun.objects.filter(pk=run.pk).update(status=status, **columns)
    assert connection.vendor in ("sqlite", "postgresql")


@pytest.mark.parametrize(
    ("status", "outcome", "expected_chip"),
    [
        ("pending", "running", "pending"),
        ("claimed", "running", "in_progress"),
        ("running", "running", "in_progress"),
        ("validating", "running", "in_progress"),
        ("uploading", "running", "in_progress"),
        ("completed", "success", "up_to_date"),
        ("failed", "failed", "failed"),
        ("canceled", "cancelled", "canceled"),
        ("timed_out", "cancelled", "timed_out"),
    ],
)
def test_outcomes_and_chips(at, status, outcome, expected_chip):
    """S0-15 … S0-22, S1-10, S1-14 … S1-17: each run is in exactly one group and has one chip."""
    run = at(status)
    groups = [name for name, where in OUTCOMES.items() if JobRun.objects.filter(where, pk=run.pk)]
    assert groups == [outcome]
    assert chip(run.status, run.result) == expected_chip
