"""Runs that have ended, for the tests of Job History and of its export."""

from __future__ import annotations

from jobs.models import Job, JobRun
from sites.models import User
from tests import factories
from tests.factories import Enrolled


def ended(job: Job, agent: Enrolled, by: User, seconds: float | None = None) -> JobRun:
    """A run that has failed, after so many seconds."""
    run = factories.run(job, by=by)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.finish(held, "failed", message="No.")
    JobRun.objects.filter(pk=run.pk).update(duration_s=seconds)
    return run
