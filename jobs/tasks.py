"""What happens to runs by itself."""

from celery import shared_task

from . import sweeps, tidying


@shared_task
def sweep() -> int:
    """End or return runs that are lost or late."""
    return sweeps.sweep()


@shared_task
def tidy() -> None:
    """Drop what uploads and requests left behind."""
    tidying.tidy()
