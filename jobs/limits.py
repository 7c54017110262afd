"""Decides how long a run of a job may take and wait: as the job says, else its site, else these."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .states import Origin, Status

if TYPE_CHECKING:
    from sites.models import Site

    from .models import Job, JobRun

HOUR = 3600
DAY = 24 * HOUR
# Where neither says.
RUN_S, QUEUE_S = HOUR, DAY
# What either may say.
LEAST_S, LONGEST_RUN_S, LONGEST_QUEUE_S = 10, 7 * DAY, 30 * DAY

# The same for a statement, in which `job` and `site` are the rows.
RUN_SQL = f"COALESCE(job.run_timeout_s, site.run_timeout_s, {RUN_S})"
QUEUE_SQL = f"COALESCE(job.queue_timeout_s, site.queue_timeout_s, {QUEUE_S})"


def queue_sql_of(run: str) -> str:
    """The SQL of the seconds that a run may wait in its queue as its job says; null without one."""
    return (
        f"(SELECT {QUEUE_SQL} FROM jobs_job AS job JOIN sites_site AS site ON site.id = job.site_id"
        f" WHERE job.id = {run}.job_id)"
    )


def run_s(job: Job) -> int:
    """Give the seconds after which a run of a job is timed out, from its start."""
    return job.run_timeout_s or of_site(job.site)[0]


def queue_s(job: Job) -> int:
    """Give the seconds after which a run of a job that no agent took is timed out."""
    return job.queue_timeout_s or of_site(job.site)[1]


def of_site(site: Site | None) -> tuple[int, int]:
    """Give both for jobs that say nothing of them."""
    if site is None:
        return RUN_S, QUEUE_S
    return site.run_timeout_s or RUN_S, site.queue_timeout_s or QUEUE_S


def wait_s(run: JobRun) -> int | None:
    """Give the seconds that a run may wait in its queue; None of another system's.

    Both times are of the statement that made it. Of one that waits, or has waited, for the turn of
    its site's schedule it is what its job says now: its wait began when it entered.
    """
    if run.origin != Origin.LOCAL:
        return None
    if run.job is not None and (run.in_turn or run.queue_until is None):
        return queue_s(run.job)
    if run.queue_until is None:
        return None
    return max(0, round((run.queue_until - run.created_at).total_seconds()))


def waits_until(run: JobRun) -> datetime | None:
    """Say when the longest wait of a pending run ends, as the sweep asks it; None in no queue.

    Of what was paused it begins anew when the pause is over.
    """
    if run.status != Status.PENDING or run.queue_until is None:
        return None
    made_with = run.queue_until - run.created_at
    wait = made_with
    if run.in_turn and run.job is not None:
        wait = timedelta(seconds=queue_s(run.job))
    paused = [one.paused_until for one in (run.site, run.job, run.requested_agent) if one]
    return max([run.queue_until, *(until + wait for until in paused if until is not None)])
