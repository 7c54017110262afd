"""What is tried again by itself: when, how often, and what ends it before its last try."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import OperationalError, transaction
from django.db.models.functions import Now

from sites import sql
from sites.models import User
from sites.problems import Refused, words_of

from . import moves, starts
from .models import Job, JobRun
from .permissions import job_policy, may_retry
from .querysets import RunQuerySet
from .states import ACTIVE

logger = logging.getLogger(__name__)

# So many are looked at in one tick; the rest follows in the next.
BATCH = 500
LONGEST_NOTE = JobRun._meta.get_field("retry_note").max_length


WITHOUT_CREDENTIAL = (
    "The job, its target or what its owner may do was changed meanwhile: a try would be given no"
    " credential."
)


@dataclass(frozen=True, slots=True)
class Retry:
    """The try that follows a run: not before when, which one it is, and of how many."""

    at: datetime
    number: int
    tries: int


def will_retry(run: JobRun) -> Retry | None:
    """Say whether another try of a run that ended badly follows by itself, and when.

    None where no other one follows; where one was dropped (`run.given_up`), `retry_note` says why.
    Decided with the status, in the statement that wrote it (`moves`), so whoever reads the run or
    the Event of its end knows at once whether this end is the last.
    """
    if run.retry_at is None:
        return None
    return Retry(run.retry_at, run.try_number + 1, run.tries)


def retry_due() -> int:
    """Start what is due to be tried again; gives how many runs were made.

    Any number may be at it at once: each try is made or dropped in a transaction that holds the
    run, which says then that nothing follows it any more.
    """
    return sum(_retry(pk) for pk in list(due().values_list("pk", flat=True)[:BATCH]))


def due() -> RunQuerySet:
    """Those whose next try has come, the oldest first."""
    waiting = JobRun.objects.filter(retry_at__lte=Now())
    # Tries wait until a pause is over.
    return waiting.exclude(job__in=Job.objects.paused()).order_by("retry_at", "pk")


@transaction.atomic
def call_off(run: JobRun, *, by: User) -> None:
    """Let no other try of a run follow, for who may retry it; 409 `no_retry` where none waits."""
    if not may_retry(by, run):
        raise Refused(
            "not_allowed", "Calling a retry off needs the role that starts the job.", status=403
        )
    if not _give_up(run.pk, f"{by} called it off."):
        raise Refused("no_retry", "No other try of this run waits.")


def _retry(pk: int) -> int:
    try:
        with transaction.atomic():
            return _retry_held(pk)
    except OperationalError:
        # Such as a lock that was not given: the next tick asks again.
        logger.exception("Run %d could not be tried again now.", pk)
    except Exception as error:
        logger.exception("Run %d cannot be tried again.", pk)
        with transaction.atomic():
            _give_up(pk, f"It could not be tried again: {words_of(error)}")
    return 0


def _retry_held(pk: int) -> int:
    """Make the next try of a run, or write down why there is none."""
    held = JobRun.objects.select_for_update(
        skip_locked=sql.on_postgresql(), no_key=True, of=("self",)
    )
    run = held.filter(pk=pk, retry_at__lte=Now()).first()
    if run is None or run.job_id is None:
        return 0
    # As `start_run` does: nobody starts the job between the questions and the answer.
    job = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=run.job_id)
    if Job.objects.paused().filter(pk=job.pk).exists():
        return 0
    if why := _against(run, job):
        _give_up(pk, why)
        return 0
    assert run.started_by is not None
    try:
        with transaction.atomic():
            started = starts.start_run(
                job,
                by=run.started_by,
                parameters=run.parameters,
                inputs=starts.inputs_of(run),
                retry_of=run,
                counts_on=True,
            )
            if run.credential_id is not None and started.run.credential_id is None:
                raise Refused("changed", WITHOUT_CREDENTIAL)
    except Refused as refusal:
        _give_up(pk, refusal.detail)
        return 0
    JobRun.objects.filter(pk=pk).update(retry_at=None, updated_at=Now())
    moves.tell([pk], "retried")
    return int(started.created)


def _against(run: JobRun, job: Job) -> str:
    """Say what speaks against another try; empty where nothing does."""
    if job.archived_at is not None:
        return "The job was archived."
    if not job.enabled:
        return "The job's schedule was switched off."
    if not job.retries:
        return "The job's retries were switched off."
    runs = JobRun.objects.filter(job=job)
    if runs.filter(status__in=ACTIVE).exists():
        return "The job is at work again already."
    # The job is held, so its runs are numbered in their order, whatever became of the clock.
    if runs.filter(pk__gt=run.pk).exists():
        return "The job was started again meanwhile."
    starter = run.started_by
    if starter is None:
        return "Nobody has started it."
    if not starter.is_active or not job_policy.allows(starter, "start", job):
        return f"{starter}, who started it, may not start the job any more."
    return ""


def _give_up(pk: int, why: str) -> bool:
    """Write down, in the caller's transaction, why no try follows; False where none waited."""
    found = JobRun.objects.filter(pk=pk, retry_at__isnull=False).update(
        retry_at=None, retry_note=why[:LONGEST_NOTE], updated_at=Now()
    )
    if found:
        moves.tell([pk], "given_up")
    return bool(found)
