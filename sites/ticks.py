"""Decides how it is known that the work which repeats is being done: each tick leaves its time.

The times lie in the cache, which all processes share, and not in a table of their own: one that
was dropped is there again after the next tick, and nothing is decided by it.
"""

from __future__ import annotations

import time

from django.core.cache import cache

# What repeats → seconds after which it is late: a few of its intervals.
LATE_AFTER_S = {"plan": 60, "sweep": 120, "lost_agents": 120, "tidy": 3600}
_KEY = "tick:{}"


def record(name: str) -> None:
    """Note that this was done just now."""
    cache.set(_KEY.format(name), time.time(), timeout=None)


def ages() -> dict[str, float]:
    """Give the seconds since each was last done; what was never done is absent."""
    keys = {_KEY.format(name): name for name in LATE_AFTER_S}
    found = cache.get_many(keys)
    return {keys[key]: max(time.time() - at, 0.0) for key, at in found.items()}


def late(known: dict[str, float]) -> list[str]:
    """Name what is late, given its ages; what has no age has not been done either."""
    return [name for name, limit in LATE_AFTER_S.items() if known.get(name, limit + 1) > limit]
