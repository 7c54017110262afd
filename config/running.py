"""Decides how it is noted that `up` runs on a data folder, for the commands that are beside it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

NAME = "up.lock"


@dataclass(frozen=True, slots=True)
class Up:
    """An `up` at work: its process, the address that people use, and since when."""

    process: int
    url: str
    since_s: float


def note(lock: int, url: str) -> None:
    """Write who holds the lock, and where the portal is."""
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {url}".encode(), 0)


def forget(lock: int) -> None:
    """Take the note away: the portal is there no longer."""
    os.truncate(lock, 0)


def noted(data: Path) -> Up | None:
    """Give what stands in the note, whether that `up` is still there or was killed."""
    try:
        process, url = (data / NAME).read_text().split()
        since = time.time() - (data / NAME).stat().st_mtime
        return Up(int(process), url, max(since, 0.0))
    except (OSError, ValueError):
        return None


def find(data: Path) -> Up | None:
    """Give the `up` that runs on this folder.

    The lock itself is not asked for: an `up` that starts meanwhile would find it taken.
    """
    found = noted(data)
    try:
        if found:
            os.kill(found.process, 0)
    except PermissionError:
        pass  # another user's, and alive
    except OSError:
        return None
    return found
