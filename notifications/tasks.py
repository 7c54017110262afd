"""What people are told by itself."""

from threading import BoundedSemaphore

from celery import shared_task

from sites import ticks

from . import delivering, fanning

# So many of a worker's threads send at once. A mail server may take a minute for a mail, and there
# is a tick every five seconds: without a limit it would come to have them all.
AT_ONCE = 2
_free = BoundedSemaphore(AT_ONCE)


@shared_task
def fan_out() -> int:
    """Decide who hears of what happened."""
    told = fanning.fan_out()
    ticks.record("fan_out")
    return told


@shared_task
def deliver() -> int:
    """Send what is due, unless enough of this worker's threads are at it already."""
    if not _free.acquire(blocking=False):
        return 0
    try:
        sent = delivering.deliver()
    finally:
        _free.release()
    ticks.record("deliver")
    return sent
