"""How a run begins its life: Backup Now, a run of a function, Retry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from agents import catalogue
from agents.models import Agent, AgentPool, Assignment, Function, FunctionVersion, Queue
from agents.permissions import agent_policy, pool_policy
from sites import sql
from sites.models import Credential, Target, User
from sites.permissions import credential_policy, target_policy
from sites.problems import Refused
from sites.sql import Sql

from . import limits, making, moves
from .masking import holds_secrets
from .models import Job, JobRun, Overlap, Pruned, RunInput
from .permissions import may_retry, run_policy
from .states import ACTIVE, FINAL, Origin


@dataclass(frozen=True, slots=True)
class Started:
    """A run, and whether it was made now or was active already."""

    run: JobRun
    created: bool


def start_run(
    job: Job,
    *,
    by: User,
    parameters: dict[str, Any] | None = None,
    inputs: Sequence[RunInput] = (),
    retry_of: JobRun | None = None,
    counts_on: bool = False,
) -> Started:
    """Start a saved job (Backup Now). The door has asked `job_policy` for "start".

    A job that has an active run gives that run, as long as the caller may see it, else Refused
    `already_active` without saying whose (domain rule 6). Jobs that allow overlap always start.
    `counts_on`: it is the next of the tries of `retry_of`, not a first one. Two presses at once
    are serial: the first statement locks the job's row.
    """
    with transaction.atomic():
        # What was read before may have been archived, given to another agent, or have lost its
        # secrets for a new address of the target, while the lock was awaited.
        seen, job = job, _held(job)
        check_in_use(job)
        check_agent(job)
        if parameters is not None and retry_of is None and seen.parameters != job.parameters:
            raise Refused("changed", f"Job “{job}” was changed just now; look and start it again.")
        version = version_of(job.function, job.version)
        check_parameters(version, job.parameters if parameters is None else parameters)
        if job.overlap != Overlap.ALLOW:
            active = JobRun.objects.filter(job=job, status__in=ACTIVE).order_by("id").first()
            if active is not None:
                if run_policy.allows(by, "view", active):
                    return Started(active, created=False)
                raise Refused("already_active", f"Job “{job}” is at work for someone else already.")
        credential = credential_for(job.target, by=by, job=job, parameters=parameters)
        wanted = making.Wanted(
            job=job.pk,
            queue=queue_of(job).pk,
            makes_snapshot=makes_snapshot(version),
            started_by=by.pk,
            credential=credential.pk if credential else None,
            parameters=parameters,
            retry_of=retry_of.pk if retry_of else None,
            try_number=retry_of.try_number + 1 if retry_of and counts_on else None,
            tries_left=retry_of.tries_left - 1 if retry_of and counts_on else None,
            # One that its site let in, is let in again: so many at once are so many tries.
            in_turn=bool(retry_of and counts_on and retry_of.in_turn),
        )
        [pk] = making.make([wanted])
        run = _complete(pk, inputs)
    return Started(run, created=True)


def _held(job: Job) -> Job:
    """Hold a job, and read it anew with what a start needs.

    In two statements: one that has waited for its row would join it with what stood beside the old
    one, and find no agent where the job has got another meanwhile, or no job at all.
    """
    Job.objects.select_for_update(no_key=True).get(pk=job.pk)
    joined = (
        "site",
        "target__site",
        "target__credential",
        "function__tool",
        "agent",
        "pool",
        "owner",
    )
    return Job.objects.select_related(*joined).get(pk=job.pk)


def start_function(
    target: Target,
    function: Function,
    *,
    by: User,
    version: str = "",
    parameters: dict[str, Any] | None = None,
    assignment: str = Assignment.AUTOMATIC,
    agent: Agent | None = None,
    pool: AgentPool | None = None,
    run_timeout_s: int | None = None,
    queue_timeout_s: int | None = None,
    inputs: Sequence[RunInput] = (),
    retry_of: JobRun | None = None,
) -> JobRun:
    """Start a function on a target without a saved job; the door asked for "create_job" there."""
    chosen = version_of(function, version)
    given = parameters or {}
    check_parameters(chosen, given)
    check_assignment(target, by=by, agent=agent, pool=pool)
    longest_run_s, longest_wait_s = limits.of_site(target.site)
    with transaction.atomic():
        return _make(
            JobRun(
                organization_id=target.organization_id,
                site_id=target.site_id,
                target=target,
                function=function,
                version=version,
                name=f"{function.tool.name}.{function.name}",
                type=function.name,
                tool=function.tool.name,
                parameters=given,
                credential=credential_for(target, by=by),
                assignment=assignment,
                requested_agent=agent,
                requested_pool=pool,
                run_timeout_s=run_timeout_s or longest_run_s,
                started_by=by,
                retry_of=retry_of,
            ),
            chosen,
            queue_timeout_s=queue_timeout_s or longest_wait_s,
            inputs=inputs,
        )


@transaction.atomic
def retry(run: JobRun, *, by: User) -> Started:
    """Make a new run from one that has ended; who presses is its starter (domain rule 6).

    A saved job that is at work again already gives that run instead, as `start_run` does. The run
    is held meanwhile: what it was given must not be pruned before the new one has it.
    """
    if run.origin != Origin.LOCAL:
        raise Refused("not_local", "This run belongs to another system and is retried there.")
    if not may_retry(by, run):
        raise Refused("not_allowed", "You may see this run, but not start it again.", status=403)
    if run.status not in FINAL:
        raise Refused(
            "still_active",
            "This run has not ended; there is nothing to retry.",
            run_status=run.status,
        )
    if not JobRun.objects.select_for_update(no_key=True, of=("self",)).filter(pk=run.pk).exists():
        raise Refused("gone", "This run was kept no longer.", status=404)
    inputs = []
    if run.started_by_id == by.pk:
        inputs = inputs_of(run)
        if run.pruned.filter(what=Pruned.What.INPUTS).exists():
            raise Refused(
                "inputs_pruned",
                "The files that this run was given are kept no longer: start it anew.",
            )
    if run.job is not None:
        return start_run(run.job, by=by, parameters=run.parameters, inputs=inputs, retry_of=run)
    assert run.target is not None
    assert run.function is not None
    again = start_function(
        run.target,
        run.function,
        by=by,
        version=run.version,
        parameters=run.parameters,
        assignment=run.assignment,
        agent=run.requested_agent,
        pool=run.requested_pool,
        run_timeout_s=run.run_timeout_s,
        queue_timeout_s=limits.wait_s(run),
        inputs=inputs,
        retry_of=run,
    )
    return Started(again, created=True)


def credential_for(
    target: Target,
    *,
    by: User,
    job: Job | None = None,
    parameters: dict[str, Any] | None = None,
) -> Credential | None:
    """Give the target's credential where a run there may use it.

    That is one whose parameters were written by who may edit the target or manage the credential:
    by whoever starts it, or by the owner of its job, which is started as it stands. Whoever may
    only start jobs could have a secret sent where its parameters say otherwise.
    """
    if (credential := target.credential) is None:
        return None
    people = [by]
    if job is not None and parameters in (None, job.parameters):
        people.append(job.owner)
    place = [(target.pk, credential.pk)]
    return credential if any(may_give(person, place) for person in people) else None


def may_give(person: User, places: Sequence[tuple[int, int]]) -> set[int]:
    """Of targets, each with the credential that stands on it, those whose runs may be given it."""
    edits = target_policy.permitted(person, ["edit"], {target for target, _ in places})
    manages = credential_policy.permitted(person, ["manage"], {known for _, known in places})
    return {target for target, known in places if edits[target] or manages[known]}


def check_in_use(job: Job) -> None:
    """Refuse a job that was archived (409)."""
    if job.archived_at is not None:
        raise Refused("archived", f"Job “{job}” is archived and starts no more.")


def check_parameters(version: FunctionVersion, parameters: dict[str, Any]) -> None:
    """Refuse parameters that the function's JSON Schema does not take (422, by field)."""
    errors: dict[str, list[str]] = {}
    for path, words in catalogue.errors_in(version, parameters):
        errors.setdefault(f"parameters.{path}".rstrip("."), []).append(words)
    if errors:
        raise Refused(
            "invalid",
            f"{version.function} does not take these parameters.",
            status=422,
            errors=errors,
        )


def check_assignment(
    target: Target, *, by: User, agent: Agent | None, pool: AgentPool | None
) -> None:
    """Refuse an agent or pool that the person may not choose, or that serves another site."""
    if agent is not None:
        words = ""
        if not agent_policy.allows(by, "view", agent) or (
            agent.organization_id != target.organization_id
        ):
            words = "No such agent."
        elif not agent_policy.allows(by, "choose", agent):
            words = f"Agent “{agent}” is in a restricted pool, which you were not granted."
        elif agent.retired_at is not None:
            words = f"Agent “{agent}” is retired; choose another one."
        elif agent.site_id not in (None, target.site_id):
            words = f"Agent “{agent}” serves another site."
        if words:
            raise Refused("invalid", words, status=422, errors={"agent": [words]})
    if pool is not None:
        words = ""
        if pool.organization_id != target.organization_id:
            words = "No such pool."
        elif pool.archived_at is not None and pool_policy.allows(by, "view", pool):
            words = f"Pool “{pool}” is archived; choose another one."
        elif not pool_policy.allows(by, "choose", pool):
            words = "No such pool."
        if words:
            raise Refused("invalid", words, status=422, errors={"pool": [words]})


def check_agent(job: Job) -> None:
    """Refuse a job whose agent was retired (409)."""
    if job.agent is not None and job.agent.retired_at is not None:
        raise Refused("agent_retired", retired(job.agent.name, job.name))


def retired(agent: str, job: str) -> str:
    """Say that a job's agent is no more."""
    return f"Agent “{agent}” is retired; give job “{job}” another one."


def archived(target: str) -> str:
    """Say that a target is no more."""
    return f"Target “{target}” is archived; nothing starts there."


def queue_of(job: Job) -> Queue:
    """Find or make the queue that a job's runs wait in."""
    return catalogue.queue_for(
        job.site,
        job.function,
        version=job.version,
        assignment=job.assignment,
        agent=job.agent,
        pool=job.pool,
    )


def makes_snapshot(version: FunctionVersion) -> bool:
    """Say whether what runs is a backup: the portal judges what it finds."""
    return version.produces == FunctionVersion.Produces.SNAPSHOT


def version_of(function: Function, version: str) -> FunctionVersion:
    """Give the version that a run would have; Refused 422 where no agent ever advertised it."""
    found = catalogue.newest_version(function, version)
    if found is None:
        words = f"No agent has ever advertised {function}{' ' + version if version else ''}."
        raise Refused("invalid", words, status=422, errors={"version": [words]})
    return found


def inputs_of(run: JobRun) -> list[RunInput]:
    """Give a run's inputs anew, for another run of its starter."""
    return [_copy(one) for one in run.inputs.all()]


def _copy(one: RunInput) -> RunInput:
    return RunInput(
        name=one.name,
        media_type=one.media_type,
        size=one.size,
        sha256=one.sha256,
        storage_name=one.storage_name,
    )


def _make(
    run: JobRun,
    version: FunctionVersion,
    *,
    queue_timeout_s: int,
    inputs: Sequence[RunInput],
) -> JobRun:
    """Write a run without a job, its first transition and Event, in the caller's transaction."""
    assert run.site is not None
    assert run.function is not None
    run.makes_snapshot = makes_snapshot(version)
    run.queue = catalogue.queue_for(
        run.site,
        run.function,
        version=run.version,
        assignment=run.assignment,
        agent=run.requested_agent,
        pool=run.requested_pool,
    )
    run.queue_until = Now() + timedelta(seconds=queue_timeout_s)
    run.save(force_insert=True)
    moves.born([run.pk])
    return _complete(run.pk, inputs)


def _complete(pk: int, inputs: Sequence[RunInput]) -> JobRun:
    """Check what a run that was just made acts on, and give it its inputs."""
    run = JobRun.objects.get(pk=pk)
    _check_target(run)
    for one in inputs:
        one.run = run
        one.save(force_insert=True)
    return run


def _check_target(run: JobRun) -> None:
    """Refuse a run where its target was archived, or moved since the run that it repeats.

    Asked with the run in place and the keys held that one needs to archive or to move: who does so
    waits for the run and sees it, or was waited for (sites.archiving, sites.places). The foreign
    key holds them no sooner than at the commit.
    """
    assert run.target_id is not None
    if sql.on_postgresql():
        for table, pk in (("sites_site", run.site_id), ("sites_target", run.target_id)):
            sql.rows(Sql(f"SELECT id FROM {table} WHERE id = %s FOR KEY SHARE", (pk,)))
    there = Target.objects.filter(pk=run.target_id, archived_at=None, site__archived_at=None)
    target = there.only("moved_at").first()
    if target is None:
        raise Refused("archived", archived(str(run.target)))
    first, moved_at = run.retry_of, target.moved_at
    if first is None or moved_at is None or first.created_at > moved_at:
        return
    if holds_secrets(run.function, run.parameters):
        raise Refused(
            "target_moved",
            f"Target “{run.target}” has another address since this run, and the run's secrets go to"
            " no other one: start it anew, with its secrets written out.",
        )
