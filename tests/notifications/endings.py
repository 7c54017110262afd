"""Ways in which something ends that people may hear of, each brought about by the real rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from jobs import definitions, planner, sweeps, transitions
from jobs.models import Job, JobRun
from sites import sql
from sites.models import Event, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.jobs.passing import deadline_over
from tests.jobs.trying import begin, fail


def failed(job: Job, agent: Enrolled, by: User) -> JobRun:
    factories.run(job, by=by)
    return fail(agent)


def timed_out(job: Job, agent: Enrolled, by: User) -> JobRun:
    run = factories.run(job, by=by)
    deadline_over(begin(agent))
    sweeps.sweep()
    return run


def canceled(job: Job, agent: Enrolled, by: User) -> JobRun:
    run = factories.run(job, by=by)
    transitions.cancel(run, by=by)
    return run


def modified(job: Job, agent: Enrolled, by: User) -> JobRun:
    run = factories.run(job, by=by)
    back_up(agent.api, {"readme": f"of {run.public_id}\n".encode()})
    return run


def up_to_date(job: Job, agent: Enrolled, by: User) -> JobRun:
    """Twice the same, of which the second one is told of."""
    for _ in range(2):
        run = factories.run(job, by=by)
        back_up(agent.api, {"readme": b"the same\n"})
    return run


def success(job: Job, agent: Enrolled, by: User, **counts: Any) -> JobRun:
    listing = agent.agent.functions.get(function__name="list").function
    other = factories.job(job.target, listing, owner=by, name=f"List {listing.pk} {len(counts)}")
    run = factories.run(other, by=by)
    agent.api.finish(begin(agent), **counts)
    return run


def partial(job: Job, agent: Enrolled, by: User) -> JobRun:
    return success(job, agent, by, counts={"total": 2, "successful": 1, "failed": 1})


def planned(job: Job, by: User, ago: timedelta) -> None:
    """Let the planner come to a start of the job so late."""
    job.schedule_kind, job.schedule_cron = "cron", "*/7 3 1 1 *"
    definitions.save(job, by=by)
    Job.objects.filter(pk=job.pk).update(next_run_at=sql.clock() - ago)
    planner.plan()


def scheduled(job: Job, agent: Enrolled, by: User) -> JobRun:
    """A start by schedule, that failed."""
    planned(job, by, timedelta(seconds=1))
    return fail(agent)


def missed(job: Job, agent: Enrolled, by: User) -> Event:
    """A start that the portal came to an hour late."""
    planned(job, by, timedelta(hours=1))
    return Event.objects.get(kind="job.missed")


# By the word of the news.
ENDINGS: dict[str, Callable[..., JobRun | Event]] = {
    "failed": failed,
    "timed_out": timed_out,
    "missed": missed,
    "partial": partial,
    "modified": modified,
    "up_to_date": up_to_date,
    "success": success,
    "canceled": canceled,
}
