"""What ends by itself: claims not begun, runs past their limits, runs whose agent fell silent."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from . import transitions
from .models import JobRun
from .states import BEGUN, LEASE_LOSSES, Reason, Status

# An agent counts its lease from when it sent the beat, the portal from when it stored it:
# the portal waits a little longer.
GRACE = timedelta(seconds=10)
BATCH = 500


def sweep() -> int:
    """End or return what is lost or late (rules 14 and 29); gives how many runs were moved.

    Every move is a compare-and-set, so any number of sweeps and completions may run at once.
    The deadline wins over the lease when both have passed.
    """
    moved = 0
    while True:
        done, found = _sweep_batch()
        moved += done
        if found < BATCH or not done:
            return moved


def _sweep_batch() -> tuple[int, int]:
    lapsed = Q(lease_until__lt=Now() - GRACE)
    due = list(
        JobRun.objects.filter(
            Q(status=Status.CLAIMED) & lapsed
            | Q(status__in=BEGUN) & (lapsed | Q(deadline_at__lt=Now()))
            | Q(status=Status.PENDING, queue_until__lt=Now())
        )
        .annotate(late=Q(deadline_at__lt=Now()))
        .select_related("agent", "job")
        .order_by("id")[:BATCH]
    )
    if not due:
        return 0, 0
    with transaction.atomic():
        return sum(_move_on(run) for run in due), len(due)


def _move_on(run: JobRun) -> bool:
    """Move one run; False when a beat or report came in between (the update asks again)."""
    lapsed = Q(lease_until__lt=Now() - GRACE)
    match run.status:
        case Status.PENDING:
            return transitions.move(
                run,
                Status.TIMED_OUT,
                by=transitions.PORTAL,
                where=Q(queue_until__lt=Now()),
                reason=Reason.NEVER_CLAIMED,
                message="No agent took it before its queue limit.",
            )
        case Status.CLAIMED if run.lease_losses < LEASE_LOSSES:
            return transitions.move(
                run,
                Status.PENDING,
                by=transitions.PORTAL,
                where=lapsed,
                reason=Reason.LEASE_ENDED,
                message=f"Agent {run.agent} did not begin in time; back in the queue.",
                columns={
                    "lease_losses": F("lease_losses") + 1,
                    "agent": None,
                    "claim": None,
                    "lease_until": None,
                },
            )
        case _ if getattr(run, "late", False):
            return transitions.move(
                run,
                Status.TIMED_OUT,
                by=transitions.PORTAL,
                where=Q(deadline_at__lt=Now()),
                reason=Reason.DEADLINE,
                message=f"It ran longer than its limit of {run.run_timeout_s} s.",
            )
        case _:
            return transitions.move(
                run,
                Status.TIMED_OUT,
                by=transitions.PORTAL,
                where=lapsed,
                reason=Reason.AGENT_LOST,
                message=f"Agent {run.agent} fell silent.",
            )
