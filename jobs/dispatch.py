"""Which agent gets which run: the claim, in two texts (PostgreSQL, SQLite), one contract."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Count

from agents import catalogue, querysets
from agents.models import Agent
from sites import credentials, pauses, sql
from sites.models import Site
from sites.sql import Sql

from . import moves
from .models import Claim, Job, JobRun, RunInput
from .states import Status
from .transitions import LEASE_S, stale

# After a collision on "one at a time": try again with a fresh snapshot, then say there is nothing.
TRIES = 5
# Of so many queues those who wait are woken at once; other runs are found by the slow poll.
MOST_QUEUES = 500

# Pauses are asked in expressions, of one run after the other: as joins PostgreSQL thinks that they
# leave one run of all, and reads 60,000 of a queue with all targets to find it, in half a minute.
_FREE = """
    run.status = 'pending' AND (run.overlap OR NOT EXISTS (
        SELECT 1 FROM jobs_jobrun other
        WHERE other.target_id = run.target_id AND other.function_id = run.function_id
          AND other.status IN ('claimed', 'running', 'validating', 'uploading')
          AND NOT other.overlap))
    AND NOT COALESCE((SELECT {job_paused} FROM jobs_job AS job WHERE job.id = run.job_id), FALSE)
    AND NOT (SELECT {site_paused} FROM sites_site AS site WHERE site.id = run.site_id)
"""

# The head of each queue, on the partial index of pending runs. The target is locked beside the
# run: of two claims that want one target, the second passes it by instead of doubling up.
_CANDIDATES_POSTGRESQL = """
    SELECT head.id, head.target_id, head.function_id, head.overlap, head.attempt
    FROM unnest(%(queues)s::bigint[]) AS queue(id)
    CROSS JOIN LATERAL (
        SELECT run.id, run.target_id, run.function_id, run.overlap, run.attempt,
               run.priority, run.created_at
        FROM jobs_jobrun run JOIN sites_target target ON target.id = run.target_id
        WHERE run.queue_id = queue.id AND {free}
        ORDER BY run.priority, run.created_at, run.id
        LIMIT %(limit)s
        FOR NO KEY UPDATE OF run, target SKIP LOCKED
    ) head
    ORDER BY head.priority, head.created_at, head.id
"""

# The write lock is held since BEGIN IMMEDIATE: nothing can come in between.
_CANDIDATES_SQLITE = """
    SELECT run.id, run.target_id, run.function_id, run.overlap, run.attempt
    FROM jobs_jobrun run
    WHERE run.queue_id IN ({queues}) AND {free}
    ORDER BY run.priority, run.created_at, run.id
    LIMIT {limit}
"""

# What the agent holds, and whether it takes nothing new.
_ROOM = """
    SELECT earlier.id, earlier.runs, (SELECT COUNT(*) FROM jobs_jobrun AS run
        WHERE run.agent_id = agent.id
        AND run.status IN ('claimed', 'running', 'validating', 'uploading')),
        {takes_none}
    FROM agents_agent AS agent
    LEFT JOIN jobs_claim AS earlier ON earlier.agent_id = agent.id AND earlier.claim_id = %s
    WHERE agent.id = %s
"""

_ANSWER = """
    SELECT run.id, run.public_id, run.attempt, run.status, run.run_timeout_s, run.actual_version,
           run.parameters, tool.name, function.name, target.public_id, target.name, target.kind,
           target.address, target.settings, base.tree_id,
           EXISTS (SELECT 1 FROM jobs_runinput AS input WHERE input.run_id = run.id),
           credential.username, credential.sealed
    FROM jobs_jobrun AS run
    JOIN sites_target AS target ON target.id = run.target_id
    JOIN agents_function AS function ON function.id = run.function_id
    JOIN agents_tool AS tool ON tool.id = function.tool_id
    LEFT JOIN sites_credential AS credential ON credential.id = run.credential_id
         AND credential.id = target.credential_id
    LEFT JOIN sites_snapshot AS base ON base.id = target.accepted_snapshot_id
         AND base.purged_at IS NULL AND run.makes_snapshot
    WHERE {these} AND run.claim_id = %s
    ORDER BY run.priority, run.created_at, run.id
"""


# Of each queue its head alone: how many runs wait behind it must not matter.
_WAITING_POSTGRESQL = """
    SELECT EXISTS (
        SELECT FROM unnest(%s::bigint[]) AS queue(id)
        CROSS JOIN LATERAL (
            SELECT FROM jobs_jobrun run WHERE run.queue_id = queue.id AND run.status = 'pending'
            ORDER BY run.priority, run.created_at, run.id LIMIT 1
        ) head
    )
"""


class ClaimedRun(NamedTuple):
    """A run as its claim shows it: the only place where parameters, inputs and credentials go out.

    A claim that is asked for again gives the credential only where it still stands on the target:
    the address that goes with it is the target's of now.
    """

    pk: int
    id: UUID
    attempt: int
    status: str
    run_timeout_s: int
    version: str
    parameters: dict[str, Any]
    tool: str
    function: str
    target_id: UUID
    target_name: str
    target_kind: str
    target_address: str
    target_settings: dict[str, Any]
    base_tree: str | None
    inputs: list[RunInput]
    credentials: dict[str, Any]


def claim(agent: Agent, claim_id: UUID, *, most: int) -> list[ClaimedRun]:
    """Give the agent up to `most` runs that it may and can carry out, oldest first.

    The first statement locks the agent's row, so that a replay and the slot limit are serial per
    agent. The same claim_id gives the same runs and attempts; Refused `stale_attempt` when a later
    attempt holds one of them. Nothing found stores nothing.
    """
    if not sql.on_postgresql() and not _worth_the_lock(agent, claim_id):
        return []
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                return _claim_once(agent, claim_id, most)
        except (IntegrityError, _Beaten):
            # Another claim made its run of this target executing first: the index is the truth.
            continue
    return []


def waiting(queues: list[int]) -> bool:
    """Say whether a run is pending in one of these queues, claimable at once or not."""
    if not sql.on_postgresql():
        return JobRun.objects.pending().filter(queue__in=queues).exists()
    [(found,)] = sql.rows(Sql(_WAITING_POSTGRESQL, (queues,)))
    return bool(found)


def waiting_at(paused: Site | Job) -> dict[int, int]:
    """How many runs of a job, or at a site, are pending in which queues, to wake who takes them."""
    column = "site" if isinstance(paused, Site) else "job"
    runs = JobRun.objects.pending().filter(**{column: paused}).exclude(queue=None)
    numbers = runs.order_by("queue").values_list("queue").annotate(number=Count("pk"))
    return dict(numbers[:MOST_QUEUES])


class _Beaten(Exception):
    """Each run that was found is another's by now."""


def _worth_the_lock(agent: Agent, claim_id: UUID) -> bool:
    """Ask before taking SQLite's one write lock: idle agents would hold up those at work.

    The claim is looked for last: one that a parallel request commits between the two questions
    empties the queue, and must then be found, or this request would say that there is nothing.
    """
    return (
        bool(_candidates(catalogue.queues_of(agent), 1))
        or Claim.objects.filter(agent=agent, claim_id=claim_id).exists()
    )


def _claim_once(agent: Agent, claim_id: UUID, most: int) -> list[ClaimedRun]:
    lock = " FOR NO KEY UPDATE" if sql.on_postgresql() else ""
    slots_of = "SELECT slots FROM agents_agent WHERE id = %s AND retired_at IS NULL"
    locked = sql.rows(Sql(slots_of + lock, (agent.pk,)))
    if not locked:
        return []
    [(slots,)] = locked
    # A statement of its own, so that it sees what was committed while the lock was awaited.
    room = Sql(_ROOM.format(takes_none=querysets.takes_none("agent")), (claim_id, agent.pk))
    [(earlier, its_runs, held, takes_none)] = sql.rows(room)
    if earlier is not None:
        return _same_again(earlier, json.loads(its_runs))
    free = 0 if takes_none else min(most, slots - held)
    if free <= 0:
        return []
    found = _candidates(catalogue.queues_of(agent), free)
    if not found:
        return []
    [(claim,)] = sql.rows(
        Sql(
            "INSERT INTO jobs_claim (agent_id, claim_id, runs) VALUES (%s, %s, %s) RETURNING id",
            (agent.pk, claim_id, json.dumps([[pk, attempt + 1] for pk, attempt in found])),
        )
    )
    moved = _take([pk for pk, _ in found], claim, agent)
    if not moved:
        raise _Beaten
    if len(moved) != len(found):
        Claim.objects.filter(pk=claim).update(runs=[[run.id, run.attempt] for run in moved])
    return _answer(claim, [run.id for run in moved])


def _candidates(queues: list[int], limit: int) -> list[tuple[int, int]]:
    """Find (run id, attempt) of the oldest runs that may be taken, one per target and function."""
    if not queues:
        return []
    with connection.cursor() as cursor:
        if sql.on_postgresql():
            text = _CANDIDATES_POSTGRESQL.format(free=_free())
            cursor.execute(text, {"queues": queues, "limit": limit})
        else:
            # Ids are our own integers; SQLite takes no list as one parameter. Twice the limit,
            # since runs of one target follow each other and only one of them may be taken.
            ids = ", ".join(str(int(pk)) for pk in queues)
            limit_and_more = int(limit) * 2
            text = _CANDIDATES_SQLITE.format(free=_free(), queues=ids, limit=limit_and_more)
            cursor.execute(text, ())
        rows = cursor.fetchall()
    found: list[tuple[int, int]] = []
    taken: set[tuple[int, int]] = set()
    for pk, target, function, overlap, attempt in rows:
        if not overlap and (target, function) in taken:
            continue
        taken.add((target, function))
        found.append((pk, attempt))
    return found[:limit]


def _free() -> str:
    """That a run may be claimed as far as it, its target, its job and its site say."""
    return _FREE.format(job_paused=pauses.lasting("job"), site_paused=pauses.lasting("site"))


def _take(ids: list[int], claim: int, agent: Agent) -> list[moves.Moved]:
    """Make the runs claimed, asking again in a fresh snapshot whether each is free."""
    these = sql.one_of("run.id", ids)
    return moves.write(
        Sql(f"{these.text} AND {_free()}", these.params),
        Status.CLAIMED,
        by=moves.Actor(agent=agent),
        columns={
            "attempt": Sql("run.attempt + 1"),
            "claim": claim,
            "agent": agent.pk,
            "lease_until": Sql(sql.later(str(LEASE_S))),
            "actual_version": Sql(_VERSION, (agent.pk,)),
            "credential": Sql(_CREDENTIAL),
        },
    )


# What stands on the target now, for a run that may use it.
_CREDENTIAL = """CASE WHEN run.credential_id IS NULL THEN NULL ELSE
    (SELECT place.credential_id FROM sites_target AS place WHERE place.id = run.target_id) END"""

_VERSION = """COALESCE(NULLIF(run.version, ''),
    (SELECT newest.version FROM agents_functionversion AS newest
     JOIN agents_functionversion_agents AS able ON able.functionversion_id = newest.id
     WHERE newest.function_id = run.function_id AND able.agent_id = %s
     ORDER BY newest.created_at DESC, newest.id DESC LIMIT 1), '')"""


def _answer(claim: int, ids: list[int]) -> list[ClaimedRun]:
    """Fetch a claim's runs with all that its answer shows, oldest first."""
    these = sql.one_of("run.id", ids)
    rows = sql.rows(Sql(_ANSWER.format(these=these.text), (*these.params, claim)))
    given: dict[int, list[RunInput]] = {row[0]: [] for row in rows if row[15]}
    for one in RunInput.objects.filter(run__in=given) if given else ():
        given[one.run_id].append(one)
    return [
        ClaimedRun._make(
            (
                row[0],
                sql.as_uuid(row[1]),
                *row[2:6],
                json.loads(row[6]),
                *row[7:9],
                sql.as_uuid(row[9]),
                *row[10:13],
                json.loads(row[13]),
                row[14],
                given.get(row[0], []),
                credentials.handed_out(row[16], row[17]) if row[17] else {},
            )
        )
        for row in rows
    ]


def _same_again(claim: int, runs: list[list[int]]) -> list[ClaimedRun]:
    """Give the runs of an earlier claim, as long as no later attempt holds one of them."""
    same = _answer(claim, [pk for pk, _ in runs])
    held = {run.pk: run.attempt for run in same}
    for pk, attempt in runs:
        if held.get(pk) != attempt:
            raise stale(JobRun.objects.get(pk=pk), attempt)
    return same
