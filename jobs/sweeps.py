"""What ends by itself: claims not begun, runs past their limits, runs whose agent fell silent."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from sites import events, pulse, sql
from sites.models import Organization
from sites.sql import Sql

from . import leases, limits, moves
from .states import LEASE_LOSSES, Reason, Status
from .transitions import LEASE_S

log = logging.getLogger(__name__)

BATCH = 500
# So many agents at once, and more than half of those that hold runs: rather a network than they.
MASS = 3
# Agents that fell silent in the same moment lose their leases within a beat of each other.
BEAT_S = 15
MASS_LOSS = "portal.mass_loss"
# An alert that goes on is told again after this time.
TOLD_FOR_S = 600

_BEGUN = "run.status IN ('running', 'validating', 'uploading')"
_EXECUTING = "run.status IN ('claimed', 'running', 'validating', 'uploading')"
# Who held it: the transition before this one is the agent's.
_AGENT = """(SELECT agent.name FROM jobs_statustransition AS held
    JOIN agents_agent AS agent ON agent.id = held.agent_id
    WHERE held.run_id = run.id AND held.sequence = run.sequence - 1)"""


def sweep() -> int:
    """End or return what is lost or late (rules 14, 29 and 30); gives how many runs were moved.

    A handful of statements whatever the number of runs. Each asks for its condition again in the
    UPDATE, so any number of sweeps and completions may run at once. The deadline wins over the
    lease when both have passed, hence the order.
    """
    pulse.note(pulse.SWEEPING)
    return (
        _all(
            f"{_BEGUN} AND run.deadline_at < {sql.now()}",
            Status.TIMED_OUT,
            reason=Reason.DEADLINE,
            message=Sql("'It ran longer than its limit of ' || run.run_timeout_s || ' s.'"),
        )
        + _lost()
        + _all(
            f"run.status = 'pending' AND {_waited_out()}",
            Status.TIMED_OUT,
            reason=Reason.NEVER_CLAIMED,
            message="No agent took it before its queue limit.",
        )
    )


def _lost() -> int:
    """End or return runs whose agents fell silent, unless it may have been the portal's fault.

    After a gap in the portal's own work nobody is lost yet: the UPDATEs ask for that themselves,
    since the machine may have slept a moment ago. Of too many silent agents at once each run waits
    for one more lease.
    """
    silence = _silence()
    if silence.excused or not silence.lapsed:
        return 0
    wait_s = leases.GRACE_S
    if silence.agents >= MASS and 2 * silence.agents > silence.holding:
        wait_s += LEASE_S
        _alert(silence)
    lapsed = f"{leases.lapsed(wait_s)} AND NOT {pulse.was_away()}"
    return (
        _all(
            f"{_BEGUN} AND {lapsed}",
            Status.TIMED_OUT,
            reason=Reason.AGENT_LOST,
            message=Sql(f"'Agent ' || {_AGENT} || ' said no more that it was at work on it.'"),
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
    )


@dataclass(frozen=True, slots=True)
class Silence:
    """How many of the agents that hold runs are silent, whether a run is lost by it, or excused."""

    holding: int
    agents: int
    lapsed: bool
    excused: bool


# A lease that is short because the deadline is near says nothing of its agent.
def _silent() -> str:
    return (
        f"(run.lease_until < {sql.later(str(BEAT_S))}"
        " AND (run.deadline_at IS NULL OR run.lease_until < run.deadline_at))"
    )


def _silence() -> Silence:
    """Look at all agents that hold runs, in one statement.

    Who missed so many beats that its lease ends within another one counts as silent: a network that
    was cut shows its first agents a beat before its last.
    """
    [(holding, agents, lapsed, excused)] = sql.rows(
        Sql(
            "SELECT COUNT(DISTINCT run.agent_id),"
            f" COUNT(DISTINCT CASE WHEN {_silent()} THEN run.agent_id END),"
            f" COALESCE(MAX(CASE WHEN {leases.lapsed()} THEN 1 END), 0),"
            f" {pulse.was_away()} FROM jobs_jobrun AS run WHERE {_EXECUTING}"
        )
    )
    return Silence(holding, agents, bool(lapsed), bool(excused))


def _alert(silence: Silence) -> None:
    """Tell once that too many agents are silent: each organization of its own alone."""
    with transaction.atomic():
        if not pulse.is_news(MASS_LOSS, for_s=TOLD_FOR_S):
            return
        found = sql.rows(
            Sql(
                "SELECT run.organization_id, COUNT(DISTINCT run.agent_id) FROM jobs_jobrun AS run"
                f" WHERE {_EXECUTING} AND {_silent()} GROUP BY run.organization_id"
            )
        )
        own: dict[int, int] = dict(found)
        for one in Organization.objects.filter(pk__in=own):
            events.record(MASS_LOSS, one.public_id, organization=one, data={"agents": own[one.pk]})
    log.warning(
        "%s of the %s agents that hold runs are silent at once: their runs wait for another %s s"
        " before they are given up. Look at the network between them and the portal.",
        silence.agents,
        silence.holding,
        LEASE_S,
    )


def _waited_out() -> str:
    """That a run's longest wait is over: of what was paused it begins when the pause is over.

    Of one that waited for its turn it is its job's, as it is now: not all that it has waited was in
    its queue.
    """
    made_with = f"{sql.seconds_since('run.created_at')} - {sql.seconds_since('run.queue_until')}"
    wait = f"CASE WHEN run.in_turn THEN {limits.queue_sql_of('run')} ELSE {made_with} END"
    holds = f"{sql.seconds_since('paused.paused_until')} < {wait}"
    return f"""run.queue_until < {sql.now()}
        AND NOT EXISTS (SELECT 1 FROM sites_site AS paused
                        WHERE paused.id = run.site_id AND {holds})
        AND NOT EXISTS (SELECT 1 FROM jobs_job AS paused
                        WHERE paused.id = run.job_id AND {holds})
        AND NOT EXISTS (SELECT 1 FROM agents_agent AS paused
                        WHERE paused.id = run.requested_agent_id AND {holds})"""


def _all(condition: str, to: Status, **more: Any) -> int:
    """Move all runs that a condition holds for, at most 500 in a transaction.

    They are looked for once: a search for the next 500 would lead PostgreSQL through the whole
    table in the order of its ids, and take longer with each run that ever ended.
    """
    rows = sql.rows(Sql(f"SELECT run.id FROM jobs_jobrun AS run WHERE {condition}"))
    found = sorted(pk for (pk,) in rows)
    moved = 0
    for start in range(0, len(found), BATCH):
        if start:
            # A sweep of many is no gap between two.
            pulse.note(pulse.SWEEPING)
        these = sql.one_of("run.id", found[start : start + BATCH])
        if sql.on_postgresql():
            # What another sweep or a report holds just now is passed by.
            free = f"SELECT run.id FROM jobs_jobrun AS run WHERE {these.text}"
            these = Sql(f"run.id IN ({free} FOR NO KEY UPDATE SKIP LOCKED)", these.params)
        moved += len(moves.write(Sql(f"{these.text} AND {condition}", these.params), to, **more))
    return moved
