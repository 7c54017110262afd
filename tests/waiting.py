"""Decides how long tests wait for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

# For a machine that is busy; nothing waits this long unless a test fails.
PATIENCE_S = 120

Found = TypeVar("Found")


def until(done: Callable[[], Found], tell: Callable[[], str] = lambda: "waited in vain") -> Found:
    """Wait until something is so and return it; after all patience fail with what `tell` says."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < deadline, tell()
        time.sleep(0.02)
    return found
