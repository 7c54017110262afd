"""Ends of runs that are tried again, and the time of the next try, as tests bring them about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from agents import enrolment
from jobs import retries, sweeps
from jobs.models import JobRun
from sites.models import Event, User
from tests.factories import Enrolled
from tests.jobs.passing import deadline_over, lease_over, queue_limit_over


def begin(agent: Enrolled) -> dict[str, Any]:
    [held] = agent.api.claim()
    agent.api.move(held, "running")
    return held


def fail(agent: Enrolled) -> JobRun:
    """Let the run that waits end as failed."""
    held = begin(agent)
    assert agent.api.finish(held, "failed", message="No.").status_code == 200
    return JobRun.objects.get(public_id=held["id"])


def end(reason: str, run: JobRun, agent: Enrolled, alice: User) -> JobRun:
    """Let a run end for a reason, as it comes about."""
    if reason == "never_claimed":
        queue_limit_over(run)
        sweeps.sweep()
    else:
        held = begin(agent)
        if reason == "error":
            agent.api.finish(held, "failed", message="No.")
        elif reason == "agent_restarted":
            agent.api.finish(held, "failed", reason="agent_restarted", message="Restarted.")
        elif reason == "credential_revoked":
            enrolment.retire(agent.agent, by=alice)
        elif reason == "deadline":
            deadline_over(held)
            sweeps.sweep()
        else:
            lease_over(held)
            sweeps.sweep()
    run.refresh_from_db()
    assert run.reason == reason
    return run


def come(run: JobRun) -> None:
    """Let the time of a run's next try have come."""
    changed = JobRun.objects.filter(pk=run.pk, retry_at__isnull=False).update(
        retry_at=Now() - timedelta(seconds=1)
    )
    assert changed == 1


def tried_again(run: JobRun) -> JobRun:
    come(run)
    assert retries.retry_due() == 1
    run.refresh_from_db()
    assert (run.retry_at, run.retry_note) == (None, "")
    return run.retries.get()


def given_up(run: JobRun) -> str:
    """Let its time come; gives why no try was made."""
    come(run)
    number = JobRun.objects.count()
    assert retries.retry_due() == 0
    run.refresh_from_db()
    assert (run.retry_at, JobRun.objects.count()) == (None, number)
    assert Event.objects.filter(kind="run.given_up", subject_id=run.public_id).count() == 1
    assert retries.retry_due() == 0
    return run.retry_note
