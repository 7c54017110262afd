"""How runs of saved jobs are made: the same statement for Backup Now and for thousands at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import uuid4

from django.db import connection

from sites import sql
from sites.sql import Sql

from . import limits, moves
from .models import JobRun, Overlap

# What a run has from its job, or is told of it (`wanted`); of the rest it has the defaults.
_COLUMNS = {
    "public_id": "wanted.public_id",
    "organization": "job.organization_id",
    "site": "job.site_id",
    "target": "job.target_id",
    "job": "job.id",
    "function": "job.function_id",
    "version": "job.version",
    "name": "job.name",
    "type": "function.name",
    "tool": "tool.name",
    "parameters": "COALESCE(wanted.parameters, job.parameters)",
    "tags": "job.tags",
    "overlap": f"job.overlap = '{Overlap.ALLOW}'",
    "auto_commit": "job.auto_commit",
    "describe_changes": "job.describe_changes",
    "describe_with_model": "job.describe_with_model",
    "assignment": "job.assignment",
    "requested_agent": "job.agent_id",
    "requested_pool": "job.pool_id",
    "external_id": "job.external_id",
    "run_timeout_s": limits.RUN_SQL,
    "queue": "CASE WHEN wanted.in_turn THEN NULL ELSE wanted.queue END",
    "next_queue": "CASE WHEN wanted.in_turn THEN wanted.queue END",
    "in_turn": "wanted.in_turn",
    "makes_snapshot": "wanted.makes_snapshot",
    "credential": "wanted.credential",
    "started_by": "wanted.started_by",
    "retry_of": "wanted.retry_of",
    "try_number": "COALESCE(wanted.try_number, 1)",
    "tries_left": "COALESCE(wanted.tries_left, job.retries)",
    "occurrence": "wanted.occurrence",
}
_WANTED = {
    "public_id": "UUID",
    "job": "BIGINT",
    "queue": "BIGINT",
    "in_turn": "BOOLEAN",
    "makes_snapshot": "BOOLEAN",
    "started_by": "BIGINT",
    "credential": "BIGINT",
    "parameters": "JSONB",
    "retry_of": "BIGINT",
    "try_number": "SMALLINT",
    "tries_left": "SMALLINT",
    "occurrence": "BIGINT",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that is to be made of a saved job; keys of rows. All else is as the job says."""

    job: int
    queue: int
    makes_snapshot: bool
    started_by: int
    credential: int | None = None
    parameters: dict[str, Any] | None = None  # in place of the job's
    retry_of: int | None = None
    try_number: int | None = None  # with `tries_left`: a try that counts on from the one before
    tries_left: int | None = None
    occurrence: int | None = None
    in_turn: bool = False  # it waits outside its queue for its turn (jobs.turns)


def make(wanted: Sequence[Wanted]) -> list[int]:
    """Make runs with their first transitions and Events; gives their keys, in no order.

    Three statements whatever their number, inside the caller's transaction, who holds the jobs.
    """
    rows = [
        {name: getattr(one, name) for name in _WANTED if name != "public_id"}
        | {"public_id": uuid4()}
        for one in wanted
    ]
    given = sql.table("wanted", _WANTED, rows)
    insert = _insert(connection.vendor)
    found = sql.rows(
        Sql(
            f"{insert.text} FROM {given.text} JOIN jobs_job AS job ON job.id = wanted.job"
            " JOIN sites_site AS site ON site.id = job.site_id"
            " JOIN agents_function AS function ON function.id = job.function_id"
            " JOIN agents_tool AS tool ON tool.id = function.tool_id WHERE TRUE RETURNING id",
            (*insert.params, *given.params),
        )
    )
    ids = [pk for (pk,) in found]
    moves.born(ids)
    return ids


@lru_cache(maxsize=2)
def _insert(vendor: str) -> Sql:
    """Say which column gets what; what the database itself has a default for is left to it."""
    columns: list[str] = []
    values: list[str] = []
    params: list[Any] = []
    waits_until = f"CASE WHEN wanted.in_turn THEN NULL ELSE {sql.later(limits.QUEUE_SQL)} END"
    sources = _COLUMNS | {"queue_until": waits_until}
    for field in JobRun._meta.concrete_fields:
        source = sources.get(field.name)
        if field.primary_key or (source is None and field.has_db_default()):
            continue
        assert field.column is not None
        columns.append(field.column)
        if source is None:
            values.append("%s")
            params.append(field.get_db_prep_save(field.get_default(), connection))
        else:
            values.append(source)
    text = f"INSERT INTO jobs_jobrun ({', '.join(columns)}) SELECT {', '.join(values)}"
    return Sql(text, tuple(params))
