"""Which agent gets which run: the claim, in two texts under one contract (PostgreSQL and SQLite)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from agents import catalogue
from agents.models import Agent, FunctionVersion
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce, Now, NullIf
from sites.models import Event

from .models import Claim, JobRun, StatusTransition
from .states import EXECUTING, Status
from .transitions import LEASE, event_of, stale

# After a collision on "one at a time": try again with a fresh snapshot, then say there is nothing.
TRIES = 5

_FREE = """
    run.status = 'pending' AND (run.overlap OR NOT EXISTS (
        SELECT 1 FROM jobs_jobrun other
        WHERE other.target_id = run.target_id AND other.function_id = run.function_id
          AND other.status IN ('claimed', 'running', 'validating', 'uploading')
          AND NOT other.overlap))
"""

# The head of each queue, on the partial index of pending runs. The target is locked beside the
# run: of two claims that want one target, the second passes it by instead of doubling up.
_CANDIDATES_POSTGRESQL = f"""
    SELECT head.id, head.target_id, head.function_id, head.overlap, head.attempt
    FROM unnest(%(queues)s::bigint[]) AS queue(id)
    CROSS JOIN LATERAL (
        SELECT run.id, run.target_id, run.function_id, run.overlap, run.attempt,
               run.priority, run.created_at
        FROM jobs_jobrun run JOIN sites_target target ON target.id = run.target_id
        WHERE run.queue_id = queue.id AND {_FREE}
        ORDER BY run.priority, run.created_at, run.id
        LIMIT %(limit)s
        FOR NO KEY UPDATE OF run, target SKIP LOCKED
    ) head
    ORDER BY head.priority, head.created_at, head.id
"""

# The write lock is held since BEGIN IMMEDIATE: nothing can come in between.
_CANDIDATES_SQLITE = f"""
    SELECT run.id, run.target_id, run.function_id, run.overlap, run.attempt
    FROM jobs_jobrun run
    WHERE run.queue_id IN (%(queues)s) AND {_FREE}
    ORDER BY run.priority, run.created_at, run.id
    LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim gave: its runs in order, and whether this is the answer of an earlier request."""

    claim: Claim | None
    runs: list[JobRun]
    replayed: bool = False


def claim(agent: Agent, claim_id: UUID, *, most: int) -> Taken:
    """Give the agent up to `most` runs that it may and can carry out, oldest first.

    The first statement locks the agent's row, so that a replay and the slot limit are serial per
    agent. The same claim_id gives the same runs and attempts; Refused `stale_attempt` when a later
    attempt holds one of them. Nothing found stores nothing.
    """
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                return _claim_once(agent, claim_id, most)
        except IntegrityError:
            # Another claim made its run of this target executing first: the index is the truth.
            continue
    return Taken(None, [])


def _claim_once(agent: Agent, claim_id: UUID, most: int) -> Taken:
    locked = (
        Agent.objects.select_for_update(no_key=True)
        .filter(pk=agent.pk, retired_at=None)
        .values_list("slots", "draining")
        .first()
    )
    if locked is None:
        return Taken(None, [])
    earlier = Claim.objects.filter(agent=agent, claim_id=claim_id).first()
    if earlier is not None:
        return Taken(earlier, _same_again(earlier), replayed=True)
    slots, draining = locked
    held = JobRun.objects.filter(agent=agent, status__in=EXECUTING).count()
    free = 0 if draining else min(most, slots - held)
    if free <= 0:
        return Taken(None, [])
    found = _candidates(catalogue.queues_of(agent), free)
    if not found:
        return Taken(None, [])
    claim = Claim.objects.create(
        agent=agent, claim_id=claim_id, runs=[[pk, attempt + 1] for pk, attempt in found]
    )
    _take([pk for pk, _ in found], claim, agent)
    runs = list(runs_of(claim))
    if len(runs) != len(found):
        claim.runs = [[run.pk, run.attempt] for run in runs]
        claim.save(update_fields=["runs"])
        if not runs:
            claim.delete()
            return Taken(None, [])
    StatusTransition.objects.bulk_create(
        StatusTransition(
            run_id=run.pk,
            sequence=run.sequence,
            from_status=Status.PENDING,
            to_status=Status.CLAIMED,
            agent=agent,
        )
        for run in runs
    )
    Event.objects.bulk_create(
        event_of(run, Status.CLAIMED) for run in runs
    )
    return Taken(claim, runs)


def _candidates(queues: list[int], limit: int) -> list[tuple[int, int]]:
    """Find (run id, attempt) of the oldest runs that may be taken, one per target and function."""
    if not queues:
        return []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_CANDIDATES_POSTGRESQL, {"queues": queues, "limit": limit})
        else:
            # Ids are our own integers; SQLite takes no list as one parameter. Twice the limit,
            # since runs of one target follow each other and only one of them may be taken.
            ids = ", ".join(str(int(pk)) for pk in queues)
            cursor.execute(_CANDIDATES_SQLITE % {"queues": ids, "limit": int(limit) * 2})
        rows = cursor.fetchall()
    found: list[tuple[int, int]] = []
    taken: set[tuple[int, int]] = set()
    for pk, target, function, overlap, attempt in rows:
        if not overlap and (target, function) in taken:
            continue
        taken.add((target, function))
        found.append((pk, attempt))
    return found[:limit]


def _take(ids: list[int], claim: Claim, agent: Agent) -> None:
    """Make the runs claimed, asking again in a fresh snapshot whether each is free."""
    other = JobRun.objects.filter(
        target=OuterRef("target"), function=OuterRef("function"), status__in=EXECUTING, overlap=False
    )
    newest = FunctionVersion.objects.filter(function=OuterRef("function"), agents=agent)
    JobRun.objects.filter(Q(overlap=True) | ~Exists(other), pk__in=ids, status=Status.PENDING).update(
        status=Status.CLAIMED,
        sequence=F("sequence") + 1,
        attempt=F("attempt") + 1,
        claim=claim,
        agent=agent,
        lease_until=Now() + LEASE,
        updated_at=Now(),
        actual_version=Coalesce(
            NullIf(F("version"), Value("")),
            Subquery(newest.order_by("-created_at", "-id").values("version")[:1]),
            Value(""),
        ),
    )


def runs_of(claim: Claim) -> list[JobRun]:
    """Fetch a claim's runs with all that its answer shows, oldest first."""
    return list(
        JobRun.objects.filter(pk__in=[pk for pk, _ in claim.runs], claim=claim)
        .select_related("target__accepted_snapshot", "function__tool", "job", "claim")
        .prefetch_related("inputs")
        .order_by("priority", "created_at", "id")
    )


def _same_again(claim: Claim) -> list[JobRun]:
    """Give the runs of an earlier claim, as long as no later attempt holds one of them."""
    by_id = JobRun.objects.in_bulk([pk for pk, _ in claim.runs])
    for pk, attempt in claim.runs:
        run = by_id[pk]
        if run.attempt != attempt or run.claim_id != claim.pk:
            raise stale(run, attempt)
    return runs_of(claim)

