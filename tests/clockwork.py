"""Processes that do the work of a beat without a pause, as many workers at once would."""

from __future__ import annotations

import time

from jobs import planner, retries
from tests import clock


def plan() -> None:
    """Start what is due, again and again."""
    clock.follow()
    while True:
        planner.plan()
        time.sleep(0.005)


def retry() -> None:
    """Try again what is due, again and again."""
    while True:
        retries.retry_due()
        time.sleep(0.005)
