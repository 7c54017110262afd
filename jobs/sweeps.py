"""What ends by itself: claims not begun, runs past their limits, runs whose agent fell silent."""

from __future__ import annotations

from typing import Any

from sites import sql
from sites.sql import Sql

from . import moves
from .states import LEASE_LOSSES, Reason, Status

# An agent counts its lease from when it sent the beat, the portal from when it stored it:
# the portal waits a little longer.
GRACE_S = 10
BATCH = 500

_BEGUN = "run.status IN ('running', 'validating', 'uploading')"
# Who held it: the transition before this one is the agent's.
_AGENT = """(SELECT agent.name FROM jobs_statustransition AS held
    JOIN agents_agent AS agent ON agent.id = held.agent_id
    WHERE held.run_id = run.id AND held.sequence = run.sequence - 1)"""


def sweep() -> int:
    """End or return what is lost or late (rules 14 and 29); gives how many runs were moved.

    A handful of statements whatever the number of runs. Each asks for its condition again in the
    UPDATE, so any number of sweeps and completions may run at once. The deadline wins over the
    lease when both have passed, hence the order.
    """
    lapsed = f"run.lease_until < {sql.later(str(-GRACE_S))}"
    return (
        _all(
            f"{_BEGUN} AND run.deadline_at < {sql.now()}",
            Status.TIMED_OUT,
            reason=Reason.DEADLINE,
            message=Sql("'It ran longer than its limit of ' || run.run_timeout_s || ' s.'"),
        )
        + _all(
            f"{_BEGUN} AND {lapsed}",
            Status.TIMED_OUT,
            reason=Reason.AGENT_LOST,
            message=Sql(f"'Agent ' || {_AGENT} || ' fell silent.'"),
        )
        + _all(
            f"run.status = 'claimed' AND run.lease_losses >= {LEASE_LOSSES} AND {lapsed}",
            Status.TIMED_OUT,
            reason=Reason.AGENT_LOST,
            message=Sql(f"'Agent ' || {_AGENT} || ' did not begin in time, as others before.'"),
        )
        + _all(
            f"run.status = 'claimed' AND run.lease_losses < {LEASE_LOSSES} AND {lapsed}",
            Status.PENDING,
            reason=Reason.LEASE_ENDED,
            message=Sql(f"'Agent ' || {_AGENT} || ' did not begin in time; back in the queue.'"),
            columns={
                "lease_losses": Sql("run.lease_losses + 1"),
                "agent": None,
                "claim": None,
                "lease_until": None,
            },
        )
        + _all(
            f"run.status = 'pending' AND {_waited_out()}",
            Status.TIMED_OUT,
            reason=Reason.NEVER_CLAIMED,
            message="No agent took it before its queue limit.",
        )
    )


def _waited_out() -> str:
    """That a run's longest wait is over: of what was paused it begins when the pause is over."""
    wait = f"{sql.seconds_since('run.created_at')} - {sql.seconds_since('run.queue_until')}"
    holds = f"{sql.seconds_since('paused.paused_until')} < {wait}"
    return f"""run.queue_until < {sql.now()}
        AND NOT EXISTS (SELECT 1 FROM sites_site AS paused
                        WHERE paused.id = run.site_id AND {holds})
        AND NOT EXISTS (SELECT 1 FROM jobs_job AS paused
                        WHERE paused.id = run.job_id AND {holds})
        AND NOT EXISTS (SELECT 1 FROM agents_agent AS paused
                        WHERE paused.id = run.requested_agent_id AND {holds})"""


def _all(condition: str, to: Status, **more: Any) -> int:
    """Move all runs that a condition holds for, at most 500 in a transaction."""
    skip = " FOR NO KEY UPDATE SKIP LOCKED" if sql.on_postgresql() else ""
    some = (
        f"run.id IN (SELECT run.id FROM jobs_jobrun AS run WHERE {condition}"
        f" ORDER BY run.id LIMIT {BATCH}{skip}) AND {condition}"
    )
    moved = 0
    while True:
        batch = len(moves.write(Sql(some), to, **more))
        moved += batch
        if batch < BATCH:
            return moved
