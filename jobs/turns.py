"""When runs that their site's schedule started enter their queues: in order, so many at once."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from sites import pauses, sql
from sites.sql import Sql

from . import limits, moves
from .models import JobRun, SiteSchedule
from .states import Status

# At a site that has no schedule any more, those that still wait all go.
ALL = 10_000
# Those that wait outside their queues, in the order of the jobs at their site.
_NEXT = """
    SELECT run.id FROM jobs_jobrun AS run JOIN jobs_job AS job ON job.id = run.job_id
    WHERE run.site_id = %s AND run.in_turn AND run.status = 'pending'
      AND run.next_queue_id IS NOT NULL AND NOT {paused}
    ORDER BY run.created_at, job.site_order, job.name, run.id LIMIT %s
"""


def release() -> int:
    """Let runs whose turn has come enter their queues; gives how many.

    A run that waits outside is in no queue, so no agent can take it, and its longest wait begins
    when it enters. One site after the other, each by its schedule's row: two that release at once
    let no more go than the site allows.
    """
    waiting = JobRun.objects.pending().filter(in_turn=True, next_queue__isnull=False)
    return sum(
        _release(site) for site in waiting.order_by().values_list("site", flat=True).distinct()
    )


def come_soon(sites: set[int]) -> None:
    """Let the next ones of these sites go once the transaction is stored, without a tick.

    For whoever has just ended some of their runs, and does not wait: where this fails, or another
    one is at a site's schedule, the tick does it.
    """
    for site in sites:
        transaction.on_commit(partial(_release_unless_held, site), robust=True)


def _release_unless_held(site: int) -> None:
    if JobRun.objects.pending().filter(site=site, in_turn=True, next_queue__isnull=False).exists():
        _release(site, wait=False)


def _release(site: int, *, wait: bool = True) -> int:
    with transaction.atomic():
        schedules = SiteSchedule.objects.filter(site=site)
        skip = not wait and sql.on_postgresql()
        schedule = schedules.select_for_update(no_key=True, of=("self",), skip_locked=skip).first()
        if schedule is None and not wait:
            return 0
        at_once = schedule.at_once if schedule else None
        _put_back(site)
        entered = JobRun.objects.active().filter(site=site, in_turn=True, next_queue=None)
        free = None if at_once is None else at_once - entered.count()
        if free is not None and free <= 0:
            return 0
        text = _NEXT.format(paused=pauses.lasting("job"))
        ids = [pk for (pk,) in sql.rows(Sql(text, (site, ALL if free is None else free)))]
        return len(_enter(ids)) if ids else 0


def _put_back(site: int) -> None:
    """Take out of their queues what a pause holds up: it keeps nobody from going, and goes later.

    Left there it would be claimed beside the others when its pause is over.
    """
    entered = JobRun.objects.pending().filter(site=site, in_turn=True, queue__isnull=False)
    held_up = list(entered.filter(job__paused_until__gt=Now()).values_list("pk", flat=True))
    # Asked again of the row itself: an agent may have taken it since, or another have put it back.
    JobRun.objects.filter(pk__in=held_up, status=Status.PENDING, queue__isnull=False).update(
        next_queue=F("queue"), queue=None, queue_until=None
    )


def _enter(ids: list[int]) -> list[int]:
    these = sql.one_of("id", ids)
    wait = limits.queue_sql_of("jobs_jobrun")
    entered = sql.rows(
        Sql(
            "UPDATE jobs_jobrun SET queue_id = next_queue_id, next_queue_id = NULL,"
            f" queue_until = {sql.later(wait)} WHERE {these.text} AND status = 'pending'"
            " AND next_queue_id IS NOT NULL RETURNING id",
            these.params,
        )
    )
    found = [pk for (pk,) in entered]
    moves.tell(found, Status.PENDING)
    return found
