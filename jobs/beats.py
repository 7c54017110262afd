"""What a heartbeat does: it keeps leases alive, raises progress, and revives nothing."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from agents import presence
from agents.models import Agent
from sites import sql
from sites.sql import Sql

from . import leases, moves
from .models import JobRun
from .states import EXECUTING, FINAL
from .transitions import LEASE_S, ever_held


@dataclass(frozen=True, slots=True)
class Beat:
    """One run that an agent says it holds."""

    id: UUID
    attempt: int
    claim_id: UUID
    progress: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent is to do with it: `ok`, `stale_attempt`, `already_final` or `not_found`."""

    id: UUID
    attempt: int
    code: str
    status: str | None


def heartbeat(agent: Agent, beats: list[Beat]) -> list[Answer]:
    """Take an agent's signs of life for itself and its runs.

    Leases go to now + 60 s, never past the deadline, and only while they have not ended: a run
    whose lease is over belongs to the sweep, and the answer is `stale_attempt` (not so where it was
    the portal that was away, see `leases.holds`). All of them change in one statement, progress
    included; `updated_at` with progress alone.
    """
    presence.seen(agent)
    if not beats:
        return []
    runs = {
        run.public_id: run
        for run in JobRun.objects.filter(
            public_id__in=[beat.id for beat in beats], organization_id=agent.organization_id
        )
        .select_related("claim")
        .annotate(alive=RawSQL(leases.holds("jobs_jobrun"), (), output_field=BooleanField()))
    }
    answers = [
        Answer(beat.id, beat.attempt, *_judge(agent, beat, runs.get(beat.id))) for beat in beats
    ]
    alive = {
        runs[beat.id].pk: beat
        for beat, answer in zip(beats, answers, strict=True)
        if answer.code == "ok"
    }
    if not alive:
        return answers
    _renew(agent, {pk: beat.progress for pk, beat in alive.items()})
    return answers


def _renew(agent: Agent, progress: dict[int, int | None]) -> None:
    """Move the leases of these runs, and their progress where it rose; `updated_at` with it alone.

    Asks again who holds them: a sweep or a report may have come in between.
    """
    later = sql.later(str(LEASE_S))
    sets = [f"lease_until = {sql.least(later, f'COALESCE(run.deadline_at, {later})')}"]
    values: list[int] = []
    risen = {pk: share for pk, share in progress.items() if share is not None}
    if risen:
        # Ids are our own integers.
        reported = f"CASE run.id {' '.join(f'WHEN {pk} THEN CAST(%s AS INT)' for pk in risen)} END"
        before = "COALESCE(run.progress, -1)"
        rises = f"{reported} > {before}"
        sets.append(f"progress = CASE WHEN {rises} THEN {reported} ELSE run.progress END")
        sets.append(f"updated_at = CASE WHEN {rises} THEN {sql.now()} ELSE run.updated_at END")
        values = [*risen.values()] * 3
    these = sql.one_of("run.id", progress)
    held = (
        f"{these.text} AND {moves.OF_AGENT} AND {leases.holds()}"
        " AND run.status IN ('claimed', 'running', 'validating', 'uploading')"
    )
    if sql.on_postgresql():
        # In the order in which moves lock runs, or the two could wait for each other.
        held = (
            f"run.id IN (SELECT run.id FROM jobs_jobrun AS run WHERE {held}"
            " ORDER BY run.id FOR NO KEY UPDATE)"
        )
    sql.rows(
        Sql(
            f"UPDATE jobs_jobrun AS run SET {', '.join(sets)} WHERE {held}",
            (*values, *these.params, agent.pk),
        )
    )


def _judge(agent: Agent, beat: Beat, run: JobRun | None) -> tuple[str, str | None]:
    if run is None:
        return "not_found", None
    holds = (
        run.agent_id == agent.pk
        and run.attempt == beat.attempt
        and run.claim is not None
        and run.claim.claim_id == beat.claim_id
    )
    if not holds:
        return ("stale_attempt" if ever_held(agent, run) else "not_found"), None
    if run.status in FINAL:
        return "already_final", run.status
    if run.status not in EXECUTING or not getattr(run, "alive", False):
        return "stale_attempt", None
    return "ok", run.status
