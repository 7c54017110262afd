"""Processes that do without a pause what a beat asks for now and then, as many workers would."""

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
