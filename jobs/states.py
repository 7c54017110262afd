"""Which statuses a run can have and which moves lead from one to another: the only place."""

from django.db import models


class Status(models.TextChoices):
    """The lifecycle of a run: what each status means, who moves it on, what a crash leaves."""

    # Waits in its queue. Moved on by an agent's claim, the starter's cancel, or the sweep at the
    # queue limit. A crash of anything leaves it waiting.
    PENDING = "pending", "Pending"
    # An agent has it and has not begun. Moved on by that agent, or by the sweep when the lease
    # ends: back to pending, at most three times. A crash of the agent loses nothing.
    CLAIMED = "claimed", "Claimed"
    # The agent works. Moved on by the agent alone, or by the sweep when lease or deadline end:
    # never begun a second time.
    RUNNING = "running", "Running"
    # The agent checks its output. As running.
    VALIDATING = "validating", "Validating"
    # The agent sends its results. As running; what was uploaded but not sealed is dropped.
    UPLOADING = "uploading", "Uploading"
    # Final: done, and `result` says what was found.
    COMPLETED = "completed", "Completed"
    # Final: an error, a restart of the agent, or its credential was revoked.
    FAILED = "failed", "Failed"
    # Final: the starter took it back before an agent had it.
    CANCELED = "canceled", "Canceled"
    # Final: too long in the queue or at work, or the agent said no more of it.
    TIMED_OUT = "timed_out", "Timed Out"


class Result(models.TextChoices):
    """What a completed run found; for a backup the portal's own verdict."""

    SUCCESS = "success", "Success"
    UP_TO_DATE = "up_to_date", "Up to Date"
    MODIFIED = "modified", "Modified"
    PARTIAL = "partial", "Partial"


class Reason(models.TextChoices):
    """Why a run ended as it did."""

    ERROR = "error", "Error"
    AGENT_RESTARTED = "agent_restarted", "The agent was restarted"
    CREDENTIAL_REVOKED = "credential_revoked", "The agent was retired"
    DEADLINE = "deadline", "Ran longer than its limit"
    AGENT_LOST = "agent_lost", "The agent said no more of it"
    NEVER_CLAIMED = "never_claimed", "No agent took it in time"
    LEASE_ENDED = "lease_ended", "Claimed, but not begun in time"


class Origin(models.TextChoices):
    """Where a run comes from."""

    LOCAL = "local", "Portal"
    SYNCED = "synced", "Synced"
    API = "api", "API"


S = Status
MOVES: dict[Status, frozenset[Status]] = {
    S.PENDING: frozenset({S.CLAIMED, S.CANCELED, S.TIMED_OUT}),
    S.CLAIMED: frozenset({S.PENDING, S.RUNNING, S.FAILED, S.TIMED_OUT}),
    S.RUNNING: frozenset({S.VALIDATING, S.UPLOADING, S.COMPLETED, S.FAILED, S.TIMED_OUT}),
    S.VALIDATING: frozenset({S.UPLOADING, S.COMPLETED, S.FAILED, S.TIMED_OUT}),
    S.UPLOADING: frozenset({S.COMPLETED, S.FAILED, S.TIMED_OUT}),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELED: frozenset(),
    S.TIMED_OUT: frozenset(),
}
FINAL = frozenset(status for status, moves in MOVES.items() if not moves)
ACTIVE = frozenset(MOVES) - FINAL
# An agent holds it.
EXECUTING = ACTIVE - {S.PENDING}
# Work has begun and must not begin again.
BEGUN = EXECUTING - {S.CLAIMED}

REASONS: dict[Status, frozenset[Reason]] = {
    S.FAILED: frozenset({Reason.ERROR, Reason.AGENT_RESTARTED, Reason.CREDENTIAL_REVOKED}),
    S.TIMED_OUT: frozenset({Reason.DEADLINE, Reason.AGENT_LOST, Reason.NEVER_CLAIMED}),
}

# After which a job may be tried again by itself, and after which it is unless it says otherwise:
# whoever revokes an agent means it.
RETRIED: tuple[Reason, ...] = tuple(
    reason for reason in Reason if reason in REASONS[S.FAILED] | REASONS[S.TIMED_OUT]
)
RETRIED_BY_ITSELF: tuple[Reason, ...] = tuple(
    reason for reason in RETRIED if reason != Reason.CREDENTIAL_REVOKED
)

# Groups for filters and tallies, in the order in which the portal offers them.
OUTCOMES: dict[str, models.Q] = {
    "running": models.Q(status__in=ACTIVE),
    "success": models.Q(status=S.COMPLETED) & ~models.Q(result=Result.PARTIAL),
    "failed": models.Q(status=S.FAILED),
    "partial": models.Q(status=S.COMPLETED, result=Result.PARTIAL),
    "cancelled": models.Q(status__in=[S.CANCELED, S.TIMED_OUT]),
}

# How often a claim whose lease ended before the work began goes back to pending.
LEASE_LOSSES = 3


def chip(status: str, result: str) -> str:
    """Name the result chip: pending, in_progress, a result, failed, timed_out or canceled."""
    if status == S.COMPLETED:
        return result
    if status in EXECUTING:
        return "in_progress"
    return status
