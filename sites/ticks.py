"""Decides how it is known that the work which repeats is being done: each tick leaves its time.

The times lie in the cache, which all processes share, and not in a table of their own: one that
was dropped is there again after the next tick, or night, and nothing is decided by it. (Those which
decide are in `sites/pulse.py`.)
"""

from __future__ import annotations

import time
from typing import NamedTuple

from django.core.cache import cache


class Tick(NamedTuple):
    """After how many seconds it is late, a few of its intervals, and what it is there for."""

    late_after_s: int
    does: str


# What is done once a night.
NIGHTLY_S = 30 * 3600
# What repeats, in the order in which it is shown.
TICKS: dict[str, Tick] = {
    "plan": Tick(60, "Starts what schedules have due"),
    "retry": Tick(60, "Tries again what failed"),
    "sweep": Tick(120, "Ends runs past a limit, or lost"),
    "lost_agents": Tick(120, "Tells of agents that fell silent"),
    "fan_out": Tick(60, "Decides who hears of what happened"),
    "deliver": Tick(120, "Sends mail about it"),
    "tidy": Tick(3600, "Drops what uploads left behind"),
    "tidy_storage": Tick(NIGHTLY_S, "Deletes stored files of nobody"),
    "prune": Tick(NIGHTLY_S, "Deletes what is kept no longer"),
}
# That these are late holds nothing up.
UNHURRIED = frozenset({"tidy", "tidy_storage", "prune"})
_KEY = "tick:{}"
# So far two machines' clocks may be apart.
AHEAD_S = 300
_BEGUN = time.monotonic()


def record(name: str) -> None:
    """Note that this was done just now."""
    cache.set(_KEY.format(name), time.time(), timeout=None)


def ages() -> dict[str, float]:
    """Give the seconds since each was last done; absent is what was never done, or nobody knows."""
    keys = {_KEY.format(name): name for name in TICKS}
    found = cache.get_many(keys)
    now = time.time()
    # One in the future is that of a clock which was set back since: nobody knows its age.
    return {keys[key]: max(now - at, 0.0) for key, at in found.items() if at < now + AHEAD_S}


def late(known: dict[str, float], *, watched_s: float | None = None) -> list[str]:
    """Name what is late, given its ages; what has no age has not been done either.

    Who has watched for less time than something may take does not know yet: it may have been
    everything that was away, and comes back now. Not so what is done once a night: nobody may have
    watched for so long, and a night that was slept through is missing. Who looks once
    (`watched_s` is None) knows of all else.
    """
    return [
        name for name, tick in TICKS.items() if _age(name, known, watched_s) > tick.late_after_s
    ]


def watched_s() -> float:
    """For how long this process has been there to see that something is late."""
    return time.monotonic() - _BEGUN


def _age(name: str, known: dict[str, float], watched_s: float | None) -> float:
    """For how long something was surely not done."""
    if TICKS[name].late_after_s == NIGHTLY_S:
        return known.get(name, watched_s or 0.0)
    never = float("inf")
    return min(known.get(name, never), never if watched_s is None else watched_s)


# --- what all pages say of it ---------------------------------------------------------------------

_amiss: tuple[str, ...] = ()


def tell(amiss: list[str]) -> None:
    """Have the pages of this process tell administrators of this, a sentence each, from now on."""
    global _amiss
    _amiss = tuple(amiss)


def amiss() -> tuple[str, ...]:
    """Give what is amiss, as was told last: a page asks nobody."""
    return _amiss
