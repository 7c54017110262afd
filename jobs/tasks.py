"""What happens to runs by itself."""

from celery import shared_task

from sites import ticks

from . import planner, retention, retries, rewording, sweeps, tidying


@shared_task
def sweep() -> int:
    """End or return runs that are lost or late."""
    moved = sweeps.sweep()
    ticks.record("sweep")
    return moved


@shared_task
def plan() -> int:
    """Start what is due by its schedule."""
    made = planner.plan()
    ticks.record("plan")
    return made


@shared_task
def retry() -> int:
    """Start what is tried again by itself."""
    made = retries.retry_due()
    ticks.record("retry")
    return made


@shared_task
def reword() -> int:
    """Give commit messages the words of a language model, where their jobs ask for it."""
    return rewording.reword_due()


@shared_task
def tidy() -> None:
    """Drop what uploads and requests left behind."""
    tidying.tidy()
    ticks.record("tidy")


@shared_task
def tidy_storage() -> None:
    """Delete stored files of nobody, and count those of each organization."""
    tidying.tidy_storage()
    ticks.record("tidy_storage")


@shared_task
def prune() -> None:
    """Delete the logs, files and runs that their organizations keep no longer."""
    retention.prune()
    ticks.record("prune")
