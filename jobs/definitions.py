"""How a saved job is written: what it may name, who is told, and when it can be put away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now

from agents import catalogue
from sites import events, pauses
from sites.models import User
from sites.problems import Refused

from . import dispatch, planning
from .models import Job
from .starts import check_assignment, check_in_use, check_parameters
from .states import ACTIVE


def save(job: Job, *, by: User) -> Job:
    """Store a job. The door has asked "create_job" of the target, or "edit" of the job.

    Refused 422 by field: what belongs to another organization or site, an agent or pool that the
    person may not choose, parameters that the function's schema does not take. Refused 409 once
    the job is archived, or where it was saved since it was read (`updated_at`).
    """
    job.organization_id, job.site_id = job.target.organization_id, job.target.site_id
    planning.tidy(job)
    errors: dict[str, list[str]] = {}
    try:
        job.full_clean()
    except ValidationError as error:
        errors = {name: list(texts) for name, texts in error.message_dict.items()}
    # Before they are looked at: a version that comes in between is asked at the next start.
    checked = catalogue.newest_version(job.function, job.version)
    for name, texts in faults(job, by=by).items():
        errors.setdefault(name, []).extend(texts)
    if errors:
        raise Refused("invalid", "The job was not saved.", status=422, errors=errors)
    with transaction.atomic():
        # Another person may have put it away meanwhile: saving would bring it back.
        known = Job.objects.select_for_update(no_key=True).filter(pk=job.pk).first()
        if known is not None and known.archived_at is not None:
            raise Refused("archived", f"Job “{job}” is archived and is not changed any more.")
        if known is not None:
            _check_unchanged(job, known)
            # Who edits a job does not end a pause that began meanwhile.
            for column in pauses.COLUMNS:
                setattr(job, column, getattr(known, column))
        planning.set_next(job, known)
        job.checked_version = checked
        job.save()
        tell(job)
    return job


def _check_unchanged(job: Job, known: Job) -> None:
    """Refuse what would lose another person's change, or bring a secret to another address.

    That of a job goes to its target. And of a job that was saved meanwhile the door has read
    secrets that may have been cleared since, for the sake of a new address of the target.
    """
    if known.target_id != job.target_id:
        words = "A job stays at its target: make another one there, with its secrets written out."
        raise Refused("invalid", words, status=422, errors={"target": [words]})
    if known.updated_at != job.updated_at:
        raise changed(known)


def changed(job: Job) -> Refused:
    """Make the refusal of what was written over another person's change."""
    return Refused(
        "changed",
        f"Job “{job}” was changed by someone else meanwhile. Look at it; saving again puts what"
        " stands here in its place.",
    )


def faults(job: Job, *, by: User) -> dict[str, list[str]]:
    """Say by field what the rules have against a job, beside what its columns can hold.

    An agent or pool that stays as it was is not asked about, it was chosen by who may; nor are
    times that stay.
    """
    errors: dict[str, list[str]] = {}
    version = catalogue.newest_version(job.function, job.version)
    if version is None:
        wanted = f"{job.function} {job.version}".rstrip()
        errors["function"] = [f"No agent has ever advertised {wanted}."]
    known = Job.objects.filter(pk=job.pk).first()
    chosen = (job.assignment, job.agent_id, job.pool_id)
    checks: list[Callable[[], None]] = []
    if known is None or chosen != (known.assignment, known.agent_id, known.pool_id):
        checks.append(partial(check_assignment, job.target, by=by, agent=job.agent, pool=job.pool))
    if version is not None:
        checks.append(partial(check_parameters, version, job.parameters))
    if planning.is_asked(job, known):
        checks.append(partial(planning.check, job))
    for check in checks:
        try:
            check()
        except Refused as refusal:
            for name, texts in (refusal.errors or {}).items():
                errors.setdefault(name, []).extend(texts)
    return errors


def archive(job: Job, *, by: User) -> None:
    """Put a job away: it starts no more and leaves the list; its runs and history stay.

    Refused 409 while it has an active run. The job's row is locked first, as `start_run` does, so
    that no run begins between the question and the answer.
    """
    with transaction.atomic():
        Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if job.runs.filter(status__in=ACTIVE).exists():
            raise Refused(
                "active_runs",
                f"Job “{job}” has an active run; it can be archived when that has ended.",
            )
        Job.objects.filter(pk=job.pk, archived_at=None).update(archived_at=Now(), next_run_at=None)
        tell(job)


def pause(job: Job, *, until: datetime, reason: str, by: User) -> None:
    """Let no agent take a run of a job until a time. The door has asked for "edit"."""
    with transaction.atomic():
        pauses.begin(job, until=until, reason=reason, by=by, check=check_in_use)
        tell(job)


def resume(job: Job) -> None:
    """End the pause of a job before its time; nothing happens where none lasts."""
    with transaction.atomic():
        if pauses.end(job):
            tell(job, queues=dispatch.waiting_at(job))


def tell(job: Job, **data: Any) -> None:
    """Write the Event of a change, in the caller's transaction."""
    events.record(
        "job.changed",
        job.public_id,
        organization=job.organization,
        site=job.site,
        target=job.target,
        data={"name": job.name} | data,
    )
