"""Decides the intervals of the live process; the setting `LIVE` may change some of them."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Timing:
    """Every interval, in seconds."""

    poll_s: float = 0.05  # between two reads of Events while anyone waits
    reread_s: float = 30.0  # how long a missing id may still be committed: the transaction limit
    hints_s: float = 1.0  # between two hints about progress or log of one run
    again_s: float = 2.0  # until more waiters are woken for a run that nobody took
    comment_s: float = 20.0  # between two comment lines of a silent stream
    end_s: float = 600.0  # after which every stream has ended
    tick_s: float = 0.1  # the step in which the three above are looked at


def timing() -> Timing:
    """Give the intervals that hold in this process."""
    return Timing(**getattr(settings, "LIVE", {}))
