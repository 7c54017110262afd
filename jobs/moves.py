"""The one statement that changes a status: the runs, their transitions and their Events together.

An end before the work began is kept on the run's planned start as well. Nothing else writes
`status`. On PostgreSQL it is a single statement; on SQLite three or four, inside a transaction that
holds the write lock from its beginning. Written by hand, since agents run it several times for each
run: the ORM's composing cost more than the database's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db import models, transaction

from agents.models import Agent
from sites import sql
from sites.models import User
from sites.sql import Sql

from .models import JobRun
from .models.job import LONGEST_RETRY_WAIT_S
from .states import BEGUN, FINAL, MOVES, REASONS, Status


@dataclass(frozen=True, slots=True)
class Actor:
    """Who moves a run: a person, an agent, or neither (the portal itself)."""

    user: User | None = None
    agent: Agent | None = None


PORTAL = Actor()

# That a run is this agent's, of runs that are named. With the + no index of the agent's runs leads
# to them: they may be a hundred thousand, and PostgreSQL thinks of one until it counts again.
OF_AGENT = "run.agent_id + 0 = %s"


class Moved(NamedTuple):
    """A run after its move."""

    id: int
    public_id: UUID
    status: str
    attempt: int
    sequence: int


# From which statuses each one is reached.
SOURCES: dict[Status, tuple[str, ...]] = {
    to: tuple(str(one) for one in Status if to in MOVES[one]) for to in Status
}
# The ends that a run may come to before its work has begun.
UNBEGUN_ENDS = frozenset(to for to in FINAL if not BEGUN.issuperset(SOURCES[to]))


def write(
    which: Sql,
    to: Status,
    *,
    by: Actor = PORTAL,
    reason: str = "",
    message: str | Sql = "",
    columns: Mapping[str, Any] | None = None,
) -> list[Moved]:
    """Move every run (`run` in the text of `which`) whose status may go to `to`; gives those moved.

    The UPDATE asks for the status and for `which` again on the newest version of each row, so of
    two that move a run at once one succeeds. `columns` are what else changes: values, or SQL in
    which the columns are the run's old ones. `message` is the transitions'; in its SQL `run` is
    the run after the move. Atomic by itself, also without a transaction around it.
    """
    sets, values = _assignments(to, reason, columns or {})
    sources = ", ".join(f"'{status}'" for status in SOURCES[to])
    where = f"WHERE run.status IN ({sources}) AND ({which.text})"
    update = Sql(f"UPDATE jobs_jobrun AS run SET {sets} {where}", (*values, *which.params))
    returned = "run.*"
    if sql.on_postgresql():
        # Where a run came from is read with its lock: what moved it a moment ago may have
        # committed after this statement's snapshot, and its transition could not be seen. In the
        # order of their ids: two that lock many runs do not wait for each other.
        old = (
            f"SELECT run.id, run.status FROM jobs_jobrun AS run {where}"
            " ORDER BY run.id FOR NO KEY UPDATE OF run"
        )
        update = Sql(
            f"UPDATE jobs_jobrun AS run SET {sets} FROM ({old}) AS old WHERE run.id = old.id",
            (*values, *which.params),
        )
        returned = "run.*, old.status AS came_from"
    noted = _transitions(to, by, reason, message)
    told = _events(to)
    may_never_begin = to in UNBEGUN_ENDS
    if sql.on_postgresql():
        kept = f", kept AS ({_never_began('FROM run WHERE TRUE')})" if may_never_begin else ""
        found = sql.rows(
            Sql(
                f"WITH run AS ({update.text} RETURNING {returned}),"
                f" noted AS ({noted.text} FROM run), told AS ({told.text} FROM run){kept}"
                " SELECT id, public_id, status, attempt, sequence FROM run",
                (*update.params, *noted.params, *told.params),
            )
        )
    else:
        with transaction.atomic():
            found = sql.rows(
                Sql(
                    f"{update.text} RETURNING id, public_id, status, attempt, sequence",
                    update.params,
                )
            )
            if found:
                ids = ", ".join(str(row[0]) for row in found)
                moved = f"FROM jobs_jobrun AS run WHERE run.id IN ({ids})"
                sql.rows(Sql(f"{noted.text} {moved}", noted.params))
                sql.rows(Sql(f"{told.text} {moved}", told.params))
                if may_never_begin:
                    sql.rows(Sql(_never_began(moved)))
    return [Moved(row[0], sql.as_uuid(row[1]), *row[2:]) for row in found]


def born(ids: list[int]) -> None:
    """Write the first transition and Event of runs that were just made, in their transaction.

    Who started a run is the actor; a planned start, and another try, is the portal's own.
    """
    which = sql.one_of("run.id", ids)
    begun = Sql(
        "INSERT INTO jobs_statustransition"
        " (run_id, sequence, from_status, to_status, user_id, agent_id, reason, message)"
        " SELECT run.id, 1, '', run.status,"
        " CASE WHEN run.occurrence_id IS NULL AND run.try_number = 1 THEN run.started_by_id END,"
        " NULL, '', CASE WHEN run.occurrence_id IS NOT NULL THEN 'Started by its schedule.'"
        " WHEN run.try_number > 1 THEN 'Try ' || run.try_number || ' of '"
        " || (run.try_number + run.tries_left) || ', started by itself.' ELSE '' END"
    )
    text = f"{begun.text} FROM jobs_jobrun AS run WHERE {which.text}"
    sql.rows(Sql(text, (*begun.params, *which.params)))
    tell(ids, Status.PENDING)


def tell(ids: list[int], kind: str) -> None:
    """Write the Event `run.<kind>`, which is no status change, in the transaction at hand."""
    told, which = _events(kind), sql.one_of("run.id", ids)
    text = f"{told.text} FROM jobs_jobrun AS run WHERE {which.text}"
    sql.rows(Sql(text, (*told.params, *which.params)))


def _assignments(
    to: Status, reason: str, columns: Mapping[str, Any]
) -> tuple[str, tuple[Any, ...]]:
    """Spell what changes, in a stable order, so that the database knows the statement again."""
    changes: dict[str, Any] = {
        "status": str(to),
        "sequence": Sql("run.sequence + 1"),
        "updated_at": Sql(sql.now()),
    }
    if to in FINAL:
        changes |= {
            "finished_at": Sql(sql.now()),
            "duration_s": Sql(sql.seconds_since("run.started_at")),
            "lease_until": None,
            "reason": reason,
        }
    if reason in REASONS.get(to, ()):
        changes["retry_at"] = Sql(_retry_at(reason))
    changes |= columns
    parts: list[str] = []
    values: list[Any] = []
    for name, value in changes.items():
        field = JobRun._meta.get_field(name)
        assert isinstance(field, models.Field)
        if isinstance(value, Sql):
            parts.append(f"{field.column} = {value.text}")
            values.extend(value.params)
        else:
            parts.append(f"{field.column} = %s")
            values.append(value.pk if isinstance(value, models.Model) else value)
    return ", ".join(parts), tuple(values)


def _never_began(moved: str) -> str:
    """Keep on the planned starts of runs that ended whether they never began, for the calendar.

    `moved` reads them as `run`. Whoever holds a run's lock is alone with its planned start.
    """
    ids = f"SELECT run.occurrence_id {moved} AND run.started_at IS NULL"
    # An array is looked up along the key; a join might read every planned start there is.
    these = f"= ANY(ARRAY({ids}))" if sql.on_postgresql() else f"IN ({ids})"
    return f"UPDATE jobs_occurrence SET never_began = TRUE WHERE id {these}"


def _retry_at(reason: str) -> str:
    """When a run that ends so is tried again by itself; null where it is not.

    Nor where its job is archived, or switched off, or its retries are: it would be dropped then.

    The job's wait before the first retry, twice that before the second, up to a day.
    """
    wait = sql.least(str(LONGEST_RETRY_WAIT_S), "job.retry_wait_s * (1 << (run.try_number - 1))")
    return (
        f"CASE WHEN run.tries_left > 0 THEN (SELECT {sql.later(wait)} FROM jobs_job AS job"
        " WHERE job.id = run.job_id AND job.enabled AND job.retries > 0"
        " AND job.archived_at IS NULL"
        f" AND {sql.has_text('job.retry_reasons', reason)}) END"
    )


def _transitions(to: Status, by: Actor, reason: str, message: str | Sql) -> Sql:
    """The history; `run` is the run after the move."""
    words = message if isinstance(message, Sql) else Sql("%s", (message,))
    text = f"CAST({words.text} AS TEXT)"
    return Sql(
        "INSERT INTO jobs_statustransition"
        " (run_id, sequence, from_status, to_status, user_id, agent_id, reason, message)"
        f" SELECT run.id, run.sequence, {_came_from(to)}, run.status,"
        f" CAST(%s AS BIGINT), CAST(%s AS BIGINT), '{reason}', {text}",
        (by.user.pk if by.user else None, by.agent.pk if by.agent else None, *words.params),
    )


def _came_from(to: Status) -> str:
    """The SQL of the status before the move; most statuses are reached from one alone."""
    if len(SOURCES[to]) == 1:
        return f"'{SOURCES[to][0]}'"
    if sql.on_postgresql():
        return "run.came_from"
    return (
        "(SELECT last.to_status FROM jobs_statustransition AS last"
        " WHERE last.run_id = run.id AND last.sequence = run.sequence - 1)"
    )


def _events(kind: str) -> Sql:
    """What live pages and notifications read, with all that decides who may hear of it."""
    job = (
        f"(SELECT {sql.uuid_text('job.public_id')} FROM jobs_job AS job WHERE job.id = run.job_id)"
    )
    # Whether this end is the last, for whoever tells of it.
    again = ", 'retry_at', run.retry_at" if kind in REASONS else ""
    return Sql(
        "INSERT INTO sites_event"
        " (kind, subject_id, organization_id, site_id, target_id, starter_id, data)"
        f" SELECT 'run.{kind}', run.public_id, run.organization_id, run.site_id, run.target_id,"
        " run.started_by_id,"
        f" {sql.json_object()}('queue', run.queue_id, 'job', {job}, 'name', run.name{again})"
    )
