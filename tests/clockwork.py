"""Processes that do the work of a beat without a pause, as many workers at once would."""

from __future__ import annotations

import os
import signal
import time

from jobs import planner, retries
from notifications import delivering, fanning
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


def fan_out() -> None:
    """Decide who hears of what happened, again and again."""
    while True:
        fanning.fan_out()
        time.sleep(0.005)


def deliver() -> None:
    """Send what is due, again and again."""
    while True:
        delivering.deliver()
        time.sleep(0.005)


def deliver_and_die() -> None:
    """Send one mail, and be killed before it is written down that it was sent."""

    def killed(taken: delivering.Taken) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    delivering._sent = killed
    delivering.deliver()
