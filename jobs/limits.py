"""Decides how long a run of a job may take and wait: as the job says, else its site, else these."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sites.models import Site

    from .models import Job

HOUR = 3600
DAY = 24 * HOUR
# Where neither says.
RUN_S, QUEUE_S = HOUR, DAY
# What either may say.
LEAST_S, LONGEST_RUN_S, LONGEST_QUEUE_S = 10, 7 * DAY, 30 * DAY

# The same for a statement, in which `job` and `site` are the rows.
RUN_SQL = f"COALESCE(job.run_timeout_s, site.run_timeout_s, {RUN_S})"
QUEUE_SQL = f"COALESCE(job.queue_timeout_s, site.queue_timeout_s, {QUEUE_S})"


def queue_of(run: str) -> str:
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
