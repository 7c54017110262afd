"""How saved jobs leave as CSV and come back: without their secrets."""

from __future__ import annotations

import json
from typing import Any

from agents.models import Agent, AgentPool, Assignment, Function
from agents.permissions import agent_policy, function_policy, pool_policy
from sites.importing import (
    CHANGED,
    NEW,
    SAME,
    Row,
    Scope,
    Sheet,
    document,
    flag,
    known,
    named,
    number,
    stays,
    within,
    wrong,
)
from sites.masking import NotRestored, restored
from sites.models import Target, User
from sites.permissions import target_policy

from . import definitions
from .masking import shown_parameters
from .models import Job
from .permissions import job_policy

_TEXTS = ("name", "version", "external_id")
_NUMBERS = ("run_timeout_s", "queue_timeout_s")
_FLAGS = ("allow_overlap", "auto_commit", "describe_changes", "describe_with_model")
_FIXED = ("organization", "site", "target", "function")


def _tell(job: Job) -> list[Any]:
    shown = {
        "id": job.public_id,
        "parameters": json.dumps(
            shown_parameters(job.function, job.parameters), ensure_ascii=False
        ),
        "tags": json.dumps(job.tags, ensure_ascii=False),
    }
    return [shown.get(name, getattr(job, name, None)) for name in JOBS.columns]


def _take(row: Row, by: User, scope: Scope) -> tuple[str, str]:
    """Store a new job, which is then the person's, or what of one differs from its row."""
    joined = ("organization", "site", "target", "function__tool", "owner")
    rows = scope(Job.objects.select_related(*joined))
    job: Job | None = known(row, job_policy, "edit", by, rows)
    new = job is None
    if job is None:
        job = _made(row, by, scope)
    else:
        for column in _FIXED:
            stays(row, column, getattr(job, column))
    before = {name: getattr(job, name) for name in _CHANGEABLE}
    for name, value in _said(row, job, by).items():
        setattr(job, name, value)
    changed = [name for name in _CHANGEABLE if getattr(job, name) != before[name]]
    if not new and not changed:
        return job.name, SAME
    definitions.save(job, by=by)
    return job.name, NEW if new else f"{CHANGED}: {', '.join(changed)}"


def _made(row: Row, by: User, scope: Scope) -> Job:
    in_use = scope(Target.objects.filter(archived_at=None))
    targets = target_policy.rows(by, "create_job", in_use)
    for column in ("organization", "site"):
        targets = within(row, column, targets)
    target: Target = named(
        row, "target", targets.select_related("organization", "site"), needed=True
    )
    tool, _, name = row.get("function", "").strip().partition(".")
    functions = function_policy.rows(by, "view", Function.objects.select_related("tool"))
    function = functions.filter(
        organization=target.organization, tool__name=tool, name=name
    ).first()
    if function is None:
        raise wrong("function", "Name a function as tool.function, such as folder.backup.")
    return Job(
        target=target,
        site=target.site,
        organization=target.organization,
        function=function,
        owner=by,
    )


def _said(row: Row, job: Job, by: User) -> dict[str, Any]:
    """Read what a row says of a job; of what it leaves empty, only texts become empty."""
    said: dict[str, Any] = {name: row[name].strip() for name in _TEXTS if name in row}
    said |= {name: number(row, name) for name in _NUMBERS}
    said |= {name: flag(row, name) for name in _FLAGS}
    said["tags"] = document(row, "tags", list)
    parameters = document(row, "parameters")
    if parameters is not None:
        try:
            said["parameters"] = dict(restored(parameters, job.parameters))
        except NotRestored as error:
            raise wrong("parameters", str(error)) from None
    said = {name: value for name, value in said.items() if value is not None}
    return said | _who(row, job, by)


def _who(row: Row, job: Job, by: User) -> dict[str, Any]:
    """Read who is to carry it out, where the row says so."""
    assignment = row.get("assignment", "").strip()
    if not assignment:
        return {}
    if assignment not in Assignment.values:
        raise wrong("assignment", f"Write one of {', '.join(Assignment.values)}.")
    if assignment == job.assignment and all(
        row.get(name, "").strip() == str(getattr(job, name) or "") for name in ("agent", "pool")
    ):
        # Also one that is retired by now: it was chosen by who may.
        return {}
    there = {"organization": job.organization_id}
    agents = agent_policy.rows(by, "view", Agent.objects.in_use().filter(**there))
    pools = pool_policy.rows(by, "view", AgentPool.objects.filter(archived_at=None, **there))
    agent = assignment == Assignment.AGENT and named(row, "agent", agents, needed=True)
    pool = assignment == Assignment.POOL and named(row, "pool", pools, needed=True)
    return {"assignment": assignment, "agent": agent or None, "pool": pool or None}


_CHANGEABLE = (*_TEXTS, "parameters", "assignment", "agent", "pool", *_NUMBERS, *_FLAGS, "tags")
JOBS = Sheet(
    ("id", "organization", "site", "target", "name", "function", *_CHANGEABLE[1:]), _tell, _take
)
