"""What the status and result of a run mean, in one sentence for people."""

from __future__ import annotations

from sites.masking import without_password
from sites.templatetags.portal import duration

from . import limits, signs
from .models import JobRun, Proposal
from .states import Reason, Result, Status


def meaning(run: JobRun) -> str:
    """Say in one sentence what the run's status means; of one that waits `waiting` says it."""
    untouched = " The accepted backup is untouched." if run.makes_snapshot else ""
    match run.status:
        case Status.CLAIMED:
            return f"{run.agent} has taken it and is about to begin."
        case Status.RUNNING | Status.VALIDATING | Status.UPLOADING:
            return run.message or f"{run.agent} is at work."
        case Status.CANCELED:
            return "Canceled before an agent had begun."
        case Status.TIMED_OUT:
            return f"{_timed_out(run)}{untouched}"
        case Status.FAILED:
            first = _first_line(run.error or run.message or run.get_reason_display(), 200)
            return f"{first.rstrip('.')}.{untouched}"
    if run.result == Result.UP_TO_DATE:
        return "Nothing differs from the accepted backup."
    if run.result == Result.MODIFIED and run.snapshot:
        number = run.snapshot.changes
        what = f"{number:,} file{' differs' if number == 1 else 's differ'}"
        taken = _taken(run)
        if run.base_snapshot is None:
            first = f"The first backup: {run.snapshot.files:,} files"
            return f"{first}." if run.auto_commit else f"{first}; {taken}."
        return f"{what} from the backup before it; {taken}."
    return _first_line(run.summary or run.message, 300)


def _first_line(text: str, most: int) -> str:
    """Cut the first line of what an agent said, behind the passwords in it: half of a URL is not
    known for one.
    """
    return without_password(text.strip().split("\n", 1)[0])[:most]


def _taken(run: JobRun) -> str:
    """Say what became of a change."""
    proposal: Proposal | None = getattr(run, "proposal", None)
    if proposal is None:
        return "the change is the accepted backup now"
    match proposal.state:
        case Proposal.State.OPEN:
            return "the change waits to be accepted"
        case Proposal.State.ACCEPTED:
            return f"{proposal.decided_by} has accepted the change"
        case Proposal.State.REJECTED:
            return f"{proposal.decided_by} has rejected the change"
    return "a newer backup took the place of this change"


def _timed_out(run: JobRun) -> str:
    if run.reason == Reason.NEVER_CLAIMED:
        return f"No agent took it within its longest wait of {duration(limits.wait_s(run))}."
    if run.reason == Reason.AGENT_LOST:
        agent = run.agent or "The agent"
        if signs.silence_of(run) == signs.Silence.BEFORE:
            return f"{agent} gave no sign of life, so the run was ended."
        return f"{agent} no longer said that it was at work on it, so the run was ended."
    minutes, seconds = divmod(run.run_timeout_s, 60)
    limit = f"{minutes} min" if minutes and not seconds else f"{run.run_timeout_s} s"
    return f"Stopped after its limit of {limit}."
