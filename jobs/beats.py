"""What a heartbeat does: it keeps leases alive, raises progress, and revives nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Q, When
from django.db.models.functions import Coalesce, Least, Now

from agents import presence
from agents.models import Agent

from .models import JobRun
from .states import EXECUTING, FINAL
from .transitions import LEASE, ever_held, progress_of


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
    whose lease is over belongs to the sweep, and the answer is `stale_attempt`. All of them change
    in one statement, progress included; `updated_at` with progress alone.
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
        .annotate(alive=Q(lease_until__gt=Now()))
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
    sent = [
        When(pk=pk, then=progress_of(beat.progress))
        for pk, beat in alive.items()
        if beat.progress is not None
    ]
    changes: dict[str, Any] = {
        "lease_until": Least(Now() + LEASE, Coalesce(F("deadline_at"), Now() + LEASE))
    }
    if sent:
        changes["progress"] = Case(*sent, default=F("progress"))
        raised = Q()
        for pk, beat in alive.items():
            if beat.progress is not None:
                further = Q(progress=None) | Q(progress__lt=beat.progress)
                raised |= Q(pk=pk) & further
        changes["updated_at"] = Case(When(raised, then=Now()), default=F("updated_at"))
    # Asked again in the update: a sweep or a report may have come in between.
    JobRun.objects.filter(
        agent=agent, status__in=EXECUTING, lease_until__gt=Now(), pk__in=alive
    ).update(**changes)
    return answers


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
