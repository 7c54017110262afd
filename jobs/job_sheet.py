"""How saved jobs leave as CSV and come back: without their secrets."""

from __future__ import annotations

import json
from datetime import datetime
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

from . import definitions, planning
from .masking import shown_parameters
from .models import Job, Overlap
from .permissions import job_policy
from .schedule import Kind

_TEXTS = ("name", "version", "external_id")
_NUMBERS = (
    "run_timeout_s", "queue_timeout_s", "grace_s", "spread_s", "site_order", "retries",
    "retry_wait_s",
)  # fmt: skip
_FLAGS = ("enabled", "auto_commit", "describe_changes", "describe_with_model")
_FIXED = ("organization", "site", "target", "function")


# In a file an empty cell leaves what is stored; this word takes a schedule away.
ON_DEMAND = "none"


def _tell(job: Job) -> list[Any]:
    shown = {
        "id": job.public_id,
        "parameters": json.dumps(
            shown_parameters(job.function, job.parameters), ensure_ascii=False
        ),
        "tags": json.dumps(job.tags, ensure_ascii=False),
        "schedule_time": job.schedule_time and f"{job.schedule_time:%H:%M}",
        "schedule_days": " ".join(job.schedule_days),
        "retry_reasons": " ".join(job.retry_reasons),
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
    planning.tidy(job)
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
    said |= _times(row)
    said["tags"] = document(row, "tags", list)
    parameters = document(row, "parameters")
    if parameters is not None:
        try:
            said["parameters"] = dict(restored(parameters, job.parameters))
        except NotRestored as error:
            raise wrong("parameters", str(error)) from None
    said = {name: value for name, value in said.items() if value is not None}
    return said | _who(row, job, by)


def _times(row: Row) -> dict[str, Any]:
    """Read when it starts and is tried again by itself, where the row says how."""
    said: dict[str, Any] = {}
    for name, choices in (
        ("schedule_kind", [*Kind.values, ON_DEMAND]),
        ("overlap", Overlap.values),
    ):
        if text := row.get(name, "").strip():
            if text not in choices:
                raise wrong(name, f"Write one of {', '.join(filter(None, choices))}.")
            said[name] = "" if text == ON_DEMAND else text
    if text := row.get("schedule_time", "").strip():
        try:
            said["schedule_time"] = datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007
        except ValueError:
            raise wrong("schedule_time", "Write a time such as 02:00.") from None
    if days := row.get("schedule_days", "").split():
        said["schedule_days"] = days
    if reasons := row.get("retry_reasons", "").split():
        said["retry_reasons"] = reasons
    if cron := row.get("schedule_cron", "").strip():
        said["schedule_cron"] = cron
    return said


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


_TIMES = ("schedule_kind", "schedule_time", "schedule_days", "schedule_cron", "overlap",
    "retry_reasons",
)  # fmt: skip
_CHANGEABLE = (
    *_TEXTS, "parameters", "assignment", "agent", "pool", *_TIMES, *_NUMBERS, *_FLAGS, "tags",
)  # fmt: skip
JOBS = Sheet(
    ("id", "organization", "site", "target", "name", "function", *_CHANGEABLE[1:]), _tell, _take
)
