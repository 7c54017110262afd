"""What people are told by itself."""

from celery import shared_task

from sites import ticks

from . import delivering, fanning


@shared_task
def fan_out() -> int:
    """Decide who hears of what happened."""
    told = fanning.fan_out()
    ticks.record("fan_out")
    return told


@shared_task
def deliver() -> int:
    """Send what is due."""
    sent = delivering.deliver()
    ticks.record("deliver")
    return sent
