"""What happens to agents by itself."""

from celery import shared_task

from sites import ticks

from . import presence


@shared_task
def mark_lost() -> int:
    """Tell of agents that have fallen silent."""
    told = presence.mark_lost()
    ticks.record("lost_agents")
    return told
