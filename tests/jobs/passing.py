"""How time passes in tests of runs: the database's own times are moved into the past."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from jobs.models import JobRun
from sites.models import Pausable, Pulse


def lease_over(run: dict[str, Any] | JobRun, *, seconds: float = 11) -> None:
    """Let a run's lease have ended some seconds ago; the sweep waits for more than ten.

    The portal was there all the while, however long this test took so far.
    """
    Pulse.objects.all().delete()
    _past(run, "lease_until", seconds)


def deadline_over(run: dict[str, Any] | JobRun) -> None:
    """Let a run's time limit be over, its lease as well: no lease reaches past it."""
    _past(run, "deadline_at", 1)
    _past(run, "lease_until", 1)


def queue_limit_over(run: JobRun) -> None:
    """Let a run have waited for longer than it may."""
    _past(run, "queue_until", 1)


def _past(run: dict[str, Any] | JobRun, column: str, seconds: float) -> None:
    public_id = run.public_id if isinstance(run, JobRun) else run["id"]
    changed = JobRun.objects.filter(public_id=public_id).update(
        **{column: Now() - timedelta(seconds=seconds)}
    )
    assert changed == 1


def pause_over(paused: Pausable, *, minutes: float = 0) -> None:
    """Let the pause of a job, site or agent have ended so many minutes ago."""
    # SQLite compares times as texts, of which those of one millisecond may differ in length.
    over = Now() - timedelta(minutes=minutes, milliseconds=2)
    type(paused)._default_manager.filter(pk=paused.pk).update(paused_until=over)


def pulse_was(name: str, *, noted_s: float, resumed_s: float | None = None) -> None:
    """Let something have been noted so many seconds ago, after a gap that ended so long ago."""
    resumed = None if resumed_s is None else Now() - timedelta(seconds=resumed_s)
    Pulse.objects.filter(name=name).delete()
    Pulse.objects.create(name=name, noted_at=Now() - timedelta(seconds=noted_s), resumed_at=resumed)
