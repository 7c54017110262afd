"""What the portal does about itself."""

from celery import shared_task

from . import monitor


@shared_task
def ping_monitor() -> bool:
    """Tell the monitor outside how the portal is doing, if there is one."""
    return monitor.ping()
