"""Why a site, target or pool is not archived yet, or moved: what runs there, which secrets go."""

from __future__ import annotations

from agents.models import AgentPool
from sites.models import Site, Target
from sites.naming import some_of

from . import definitions
from .masking import cleared, holds_secrets
from .models import Job, JobRun


def active_runs(place: Site | Target) -> str | None:
    """Say that runs are active at a place, or nothing."""
    column = "site" if isinstance(place, Site) else "target"
    active = JobRun.objects.active().filter(**{column: place}).count()
    if not active:
        return None
    runs = "a run is" if active == 1 else f"{active} runs are"
    return f"“{place}” cannot be archived while {runs} active there."


def named_by_work(pool: AgentPool) -> str | None:
    """Say which jobs and active runs name a pool, or nothing."""
    jobs = list(Job.objects.in_use().filter(pool=pool).order_by("name", "pk"))
    if jobs:
        is_for = "is" if len(jobs) == 1 else "are"
        return (
            f"Pool “{pool}” cannot be archived while {_named('job', jobs)} {is_for} assigned to it:"
            " assign them otherwise first."
        )
    active = JobRun.objects.active().filter(requested_pool=pool).count()
    if active:
        runs = (
            "a run that asked for it is" if active == 1 else f"{active} runs that asked for it are"
        )
        return f"Pool “{pool}” cannot be archived while {runs} active."
    return None


def stored_secrets(target: Target, cleared: bool) -> str | None:
    """Say which jobs and active runs hold secrets that a new address of the target would get.

    A job's secret was written for the address that its writer saw; without this rule whoever may
    edit the target could have it sent to a machine of their own. `cleared`: the jobs' are gone.
    The caller holds the target's row, so that no run is made meanwhile.
    """
    jobs = [] if cleared else _holding(target)
    if jobs:
        return (
            f"{_named('Job', jobs)} hold{'s' if len(jobs) == 1 else ''} secrets for the present"
            " address, which go to no other one: clear them along with the change (“Clear the"
            " secrets of its jobs”, clear_job_secrets), then write them out anew in each job."
        )
    active = JobRun.objects.active().filter(target=target).exclude(parameters={})
    found = active.select_related("function").prefetch_related("function__versions")
    runs = [run for run in found.order_by("pk") if holds_secrets(run.function, run.parameters)]
    if runs:
        return (
            f"{_named('Run', runs)} hold{'s' if len(runs) == 1 else ''} secrets for the present"
            " address: change it when no such run is active."
        )
    return None


def clear_secrets(target: Target) -> None:
    """Take the secrets of a target's jobs away. Locks the jobs, in one order."""
    locked = Job.objects.in_use().filter(target=target).order_by("pk")
    list(locked.select_for_update(no_key=True).values("pk"))
    for job in _holding(target):
        job.parameters, job.checked_version = cleared(job.function, job.parameters), None
        job.save(update_fields=["parameters", "checked_version", "updated_at"])
        definitions.tell(job)


def _holding(target: Target) -> list[Job]:
    jobs = Job.objects.in_use().filter(target=target).exclude(parameters={})
    found = jobs.select_related("organization", "site", "target", "function")
    return [
        job
        for job in found.prefetch_related("function__versions").order_by("name", "pk")
        if holds_secrets(job.function, job.parameters)
    ]


def _named(kind: str, found: list[Job] | list[JobRun]) -> str:
    names = some_of([f"“{one}”" for one in found])
    return f"{kind}{'' if len(found) == 1 else 's'} {names}"
