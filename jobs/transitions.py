"""How a run changes its status: one conditional UPDATE with its transition and Event, or nothing.

Every status change of every run goes through `move` (or the claim in `dispatch`); nothing else writes `status`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Greatest, Least, Now

from agents.models import Agent
from sites.models import Event, User
from sites.problems import Refused

from .masking import masked, secrets_of
from .models import JobRun, StatusTransition
from .states import BEGUN, EXECUTING, FINAL, MOVES, Origin, Reason, Status

LEASE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who moves a run: a person, an agent, or neither (the portal itself)."""

    user: User | None = None
    agent: Agent | None = None


PORTAL = Actor()


def event_of(run: JobRun, to: str) -> Event:
    """Shape the Event of a status change, with all that decides who may hear of it."""
    return Event(
        kind=f"run.{to}",
        subject_id=run.public_id,
        organization_id=run.organization_id,
        site_id=run.site_id,
        target_id=run.target_id,
        starter_id=run.started_by_id,
        data={
            "queue": run.queue_id,
            "job": str(run.job.public_id) if run.job else None,
            "name": run.name,
        },
    )


def move(
    run: JobRun,
    to: Status,
    *,
    by: Actor,
    where: Q | None = None,
    reason: str = "",
    message: str = "",
    columns: Mapping[str, Any] | None = None,
) -> bool:
    """Move a run from the status that was read to another; False when it was no longer so.

    Runs inside the caller's transaction. The UPDATE asks again for id, status, attempt and claim
    (and `where`), so of two that move a run at once one succeeds, and the other reads anew.
    `message` is the transition's; `columns` are what else changes on the run.
    `run` is brought up to date in the columns that are plain values.
    """
    came_from = Status(run.status)
    if to not in MOVES[came_from]:
        return False
    changes: dict[str, Any] = {
        "status": to,
        "sequence": F("sequence") + 1,
        "updated_at": Now(),
        **({"finished_at": Now(), "lease_until": None, "reason": reason} if to in FINAL else {}),
        **(columns or {}),
    }
    held = Q(pk=run.pk, status=came_from, attempt=run.attempt, claim=run.claim_id)
    if not JobRun.objects.filter(held & (where or Q())).update(**changes):
        return False
    run.status, run.sequence = to, run.sequence + 1
    for name, value in (columns or {}).items():
        if not hasattr(value, "resolve_expression"):
            setattr(run, name, value)
    StatusTransition.objects.create(
        run_id=run.pk,
        sequence=run.sequence,
        from_status=came_from,
        to_status=to,
        user=by.user,
        agent=by.agent,
        reason=reason,
        message=message,
    )
    event_of(run, to).save(force_insert=True)
    return True


def cancel(run: JobRun, *, by: User) -> JobRun:
    """Take a pending run back. The door has asked that `by` is its starter (no one else may).

    Cancel and claim are one compare-and-set each: exactly one wins; 409 `not_pending` for the other.
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


def held_run(agent: Agent, public_id: object, *, attempt: int, claim_id: object = None) -> JobRun:
    """Fetch a run that this agent holds or held with this attempt.

    Refused `not_found` for a run that the agent never held (404, as for one that does not exist),
    `stale_attempt` when a later attempt holds it or the claim is another one.
    """
    run = (
        JobRun.objects.select_related("claim", "job")
        .filter(public_id=public_id, organization_id=agent.organization_id)
        .first()
    )
    if run is None or not ever_held(agent, run):
        raise Refused("not_found", "There is no such run for this agent.", status=404)
    claim = run.claim
    if (
        run.agent_id != agent.pk
        or run.attempt != attempt
        or (claim_id is not None and (claim is None or claim.claim_id != claim_id))
    ):
        raise stale(run, attempt)
    return run


def ever_held(agent: Agent, run: JobRun) -> bool:
    """Say whether the agent holds the run or had claimed it before."""
    return (
        run.agent_id == agent.pk
        or StatusTransition.objects.filter(
            run=run, agent=agent, to_status=Status.CLAIMED
        ).exists()
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


def report_status(
    agent: Agent,
    public_id: object,
    *,
    attempt: int,
    claim_id: object,
    to: Status,
    message: str = "",
    progress: int | None = None,
) -> JobRun:
    """Take an agent's PATCH: running, validating or uploading (rule 13).

    A move that was made already gives the present run. `running` sets started_at and the deadline
    once; the lease is renewed by each accepted move, and work begins only after this has committed.
    """
    for _ in range(3):
        run = held_run(agent, public_id, attempt=attempt, claim_id=claim_id)
        if run.status in FINAL:
            raise already_final(run)
        if run.status == to or (run.status in BEGUN and to in BEGUN and _made(run, to)):
            return run
        if to not in MOVES[Status(run.status)]:
            raise Refused(
                "illegal_move", f"A run cannot go from {run.status} to {to}.", run_status=run.status
            )
        columns: dict[str, Any] = {}
        alive = Q()
        if to == Status.RUNNING:
            limit = timedelta(seconds=run.run_timeout_s)
            columns |= {"started_at": Now(), "deadline_at": Now() + limit}
            columns["lease_until"] = Now() + min(LEASE, limit)
            # A lease that ended belongs to the sweep: the run may be another's in a moment.
            alive = Q(lease_until__gt=Now())
        else:
            columns["lease_until"] = Least(Now() + LEASE, F("deadline_at"))
        if message:
            message = masked(message, secrets_of(run))
            columns["message"] = message
        if progress is not None:
            columns["progress"] = progress_of(progress)
        with transaction.atomic():
            if move(run, to, by=Actor(agent=agent), where=alive, message=message, columns=columns):
                return run
        if to == Status.RUNNING and JobRun.objects.filter(
            pk=run.pk, status=Status.CLAIMED, attempt=attempt, lease_until__lte=Now()
        ):
            raise stale(run, attempt)
    raise stale(run, attempt)


def _made(run: JobRun, to: Status) -> bool:
    return StatusTransition.objects.filter(run=run, to_status=to).exists()


def progress_of(progress: int) -> Any:
    """Give the expression that raises progress and never lowers it."""
    return Greatest(Coalesce(F("progress"), 0), progress)


def revoke(agent: Agent, by: User) -> None:
    """End what an agent holds, in the transaction that retires it."""
    for run in JobRun.objects.filter(agent=agent, status__in=EXECUTING).select_related("job"):
        for _ in range(3):
            if run.status not in EXECUTING or move(
                run,
                Status.FAILED,
                by=Actor(user=by),
                reason=Reason.CREDENTIAL_REVOKED,
                message=f"Agent {agent} was retired.",
                columns={"error": f"Agent {agent} was retired while it held this run."},
            ):
                break
            run.refresh_from_db()

