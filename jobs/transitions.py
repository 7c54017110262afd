"""Who may move a run, when, and what they are told when they may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from agents.models import Agent
from sites import sql
from sites.models import User
from sites.problems import Refused
from sites.sql import Sql

from . import leases, moves
from .masking import masked, secrets_of
from .models import JobRun, StatusTransition
from .moves import Actor
from .states import BEGUN, FINAL, MOVES, Origin, Reason, Status

LEASE_S = 60


class Reported(NamedTuple):
    """What an agent is told of its run after a move."""

    id: UUID
    attempt: int
    status: str


def move(
    run: JobRun,
    to: Status,
    *,
    by: Actor,
    where: Sql | None = None,
    reason: str = "",
    message: str = "",
    columns: Mapping[str, Any] | None = None,
) -> bool:
    """Move a run from the status that was read to another; False when it was no longer so.

    The UPDATE asks again for id, status, attempt and claim (and `where`), so of two that move a
    run at once one succeeds, and the other reads anew. `message` is the transition's; `columns`
    are what else changes on the run. `run` is brought up to date in the columns that are values.
    """
    if to not in MOVES[Status(run.status)]:
        return False
    held = Sql(
        "run.id = %s AND run.status = %s AND run.attempt = %s", (run.pk, run.status, run.attempt)
    )
    same_claim = (
        Sql("run.claim_id = %s", (run.claim_id,)) if run.claim_id else Sql("run.claim_id IS NULL")
    )
    also = where or Sql("TRUE")
    moved = moves.write(
        Sql(
            f"{held.text} AND {same_claim.text} AND ({also.text})",
            (*held.params, *same_claim.params, *also.params),
        ),
        to,
        by=by,
        reason=reason,
        message=message,
        columns=columns,
    )
    if not moved:
        return False
    run.status, run.sequence = to, moved[0].sequence
    for name, value in (columns or {}).items():
        if not isinstance(value, Sql):
            setattr(run, name, value)
    return True


def cancel(run: JobRun, *, by: User) -> JobRun:
    """Take a pending run back. The door has asked that `by` is its starter (no one else may).

    Cancel and claim are one compare-and-set each: one wins, 409 `not_pending` for the other.
    """
    if run.origin != Origin.LOCAL:
        raise Refused("not_local", "This run belongs to another system and is cancelled there.")
    if run.started_by_id != by.pk:
        raise Refused("not_allowed", "Only the person who started a run can cancel it.", status=403)
    with transaction.atomic():
        canceled = run.status == Status.PENDING and move(run, Status.CANCELED, by=Actor(user=by))
    run.refresh_from_db()
    if not canceled:
        raise Refused(
            "not_pending",
            f"Only a pending run can be cancelled; this one is {run.get_status_display()}.",
            run_status=run.status,
        )
    return run


# What the rules about a held run look at; the other columns come when they are asked for. Written
# by hand: composing it cost more than all the rest of a result.
_HELD = """
    SELECT run.id, run.public_id, run.organization_id, run.target_id, run.function_id, run.version,
           run.actual_version, run.parameters, run.status, run.sequence, run.attempt, run.agent_id,
           run.claim_id, run.makes_snapshot, run.auto_commit, run.describe_changes,
           run.describe_with_model, run.verdict, run.snapshot_id,
           run.base_snapshot_id, run.report_hash, run.log_length, run.started_by_id, run.created_at,
           run.started_at, claim.claim_id AS held_by_claim, target.settings AS target_settings,
           run.credential_id, run.in_turn, run.site_id
    FROM jobs_jobrun AS run LEFT JOIN jobs_claim AS claim ON claim.id = run.claim_id
    LEFT JOIN sites_target AS target ON target.id = run.target_id
    WHERE run.public_id = %s AND run.organization_id = %s
"""


def held_run(
    agent: Agent, public_id: UUID, *, attempt: int, claim_id: UUID | None = None
) -> JobRun:
    """Fetch a run that this agent holds or held with this attempt.

    Refused `not_found` for a run that the agent never held (404, as for one that does not exist),
    `stale_attempt` when a later attempt holds it or the claim is another one.
    """
    found = sql.objects(JobRun, Sql(_HELD, (public_id, agent.organization_id)))
    run = found[0] if found else None
    if run is None or not ever_held(agent, run):
        raise Refused("not_found", "There is no such run for this agent.", status=404)
    if run.agent_id != agent.pk or run.attempt != attempt:
        raise stale(run, attempt)
    by = run.held_by_claim  # type: ignore[attr-defined]
    if claim_id is not None and (by is None or sql.as_uuid(by) != claim_id):
        raise stale(run, attempt)
    return run


def ever_held(agent: Agent, run: JobRun) -> bool:
    """Say whether the agent holds the run or had claimed it before."""
    return (
        run.agent_id == agent.pk
        or StatusTransition.objects.filter(run=run, agent=agent, to_status=Status.CLAIMED).exists()
    )


def stale(run: JobRun, attempt: int) -> Refused:
    """Say that an attempt no longer holds its run."""
    return Refused("stale_attempt", f"Attempt {attempt} of run {run.public_id} does not hold it.")


def already_final(run: JobRun) -> Refused:
    """Say that a run has ended."""
    return Refused(
        "already_final",
        f"Run {run.public_id} has ended: {run.get_status_display()}.",
        run_status=run.status,
    )


def columns_of(to: Status) -> dict[str, Any]:
    """What an agent's move changes besides the status: the lease, and on `running` the times."""
    if to != Status.RUNNING:
        lease = sql.least(sql.later(str(LEASE_S)), "run.deadline_at")
        return {"lease_until": Sql(lease)}
    return {
        "started_at": Sql(sql.now()),
        "deadline_at": Sql(sql.later("run.run_timeout_s")),
        "lease_until": Sql(sql.later(sql.least(str(LEASE_S), "run.run_timeout_s"))),
    }


def held_by(agent: Agent, runs: Sequence[tuple[UUID, int]], claim_id: UUID) -> Sql:
    """The condition that the agent holds these runs with these attempts, by this claim, alive.

    A lease that ended belongs to the sweep: the run may be another's in a moment.
    """
    these = sql.one_of_pairs("(run.public_id, run.attempt)", runs)
    return Sql(
        f"{these.text} AND {moves.OF_AGENT} AND {leases.holds()} AND run.claim_id ="
        " (SELECT held.id FROM jobs_claim AS held"
        " WHERE held.agent_id = %s AND held.claim_id = %s)",
        (*these.params, agent.pk, agent.pk, claim_id),
    )


def report_status(
    agent: Agent,
    public_id: UUID,
    *,
    attempt: int,
    claim_id: UUID,
    to: Status,
    message: str = "",
    progress: int | None = None,
) -> Reported:
    """Take an agent's PATCH: running, validating or uploading (rule 13).

    The move is tried first and explained only where it was not made: already there gives the
    present run, anything else is Refused. `running` sets started_at and the deadline once; the
    lease is renewed by each accepted move, and work begins only after this has committed.
    """
    if message:
        message = masked(message, secrets_of(held_run(agent, public_id, attempt=attempt)))
    columns = columns_of(to)
    if message:
        columns["message"] = message
    if progress is not None:
        columns["progress"] = progress_of(progress)
    which = held_by(agent, [(public_id, attempt)], claim_id)
    for _ in range(2):
        moved = moves.write(which, to, by=Actor(agent=agent), message=message, columns=columns)
        if moved:
            return Reported(public_id, attempt, str(to))
        run = held_run(agent, public_id, attempt=attempt, claim_id=claim_id)
        if run.status in FINAL:
            raise already_final(run)
        if run.status == to:
            return Reported(public_id, attempt, run.status)
        if run.status in BEGUN and to in BEGUN and _made(run, to):
            # It may have been made since the run was read: what is told is the present status.
            run.refresh_from_db(fields=["status"])
            return Reported(public_id, attempt, run.status)
        if to not in MOVES[Status(run.status)]:
            raise Refused(
                "illegal_move", f"A run cannot go from {run.status} to {to}.", run_status=run.status
            )
    raise stale(run, attempt)


def _made(run: JobRun, to: Status) -> bool:
    return StatusTransition.objects.filter(run=run, to_status=to).exists()


def progress_of(progress: int) -> Sql:
    """The SQL that raises a run's progress and never lowers it."""
    return Sql(sql.greatest("COALESCE(run.progress, 0)", "CAST(%s AS SMALLINT)"), (progress,))


def revoke(agent: Agent, by: User) -> None:
    """End what an agent holds, in the transaction that retires it."""
    moves.write(
        Sql("run.agent_id = %s AND run.status <> 'pending'", (agent.pk,)),
        Status.FAILED,
        by=Actor(user=by),
        reason=Reason.CREDENTIAL_REVOKED,
        message=f"Agent {agent} was retired.",
        columns={"error": f"Agent {agent} was retired while it held this run."},
    )
