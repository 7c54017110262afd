"""What happens to agents by itself."""

from celery import shared_task

from . import presence


@shared_task
def mark_lost() -> int:
    """Tell of agents that have fallen silent."""
    return presence.mark_lost()
