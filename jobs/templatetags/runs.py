"""How a run's status and result look: icon, words and colour, always all three."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from django import template
from django.db.models import Count

from jobs import waiting
from jobs.coverage import Gap
from jobs.export import source_of
from jobs.models import JobRun, Occurrence, StatusTransition
from jobs.permissions import run_policy
from jobs.states import EXECUTING, FINAL, Result, Status, chip

register = template.Library()
register.filter("source", source_of)

# chip → (look, icon, words); a chip is a result, a final status, pending or in_progress.
CHIPS: dict[str, tuple[str, str, str]] = {
    "pending": ("plain", "clock", "Pending"),
    "in_progress": ("plain", "loader-2", "In Progress"),
    Result.UP_TO_DATE: ("green", "checks", "Up to Date"),
    Result.MODIFIED: ("orange", "plus-minus", "Modified"),
    Result.SUCCESS: ("green", "check", "Success"),
    Result.PARTIAL: ("orange", "circle-half-2", "Partial"),
    Status.FAILED: ("red", "circle-x", "Failed"),
    Status.TIMED_OUT: ("red", "clock-x", "Timed Out"),
    Status.CANCELED: ("grey", "ban", "Canceled"),
}

# status → (look of the chip, its icon, icon in the path)
LIFECYCLE: dict[str, tuple[str, str, str]] = {
    Status.PENDING: ("blue", "loader-2", "clock"),
    Status.CLAIMED: ("blue", "loader-2", "hand-grab"),
    Status.RUNNING: ("blue", "loader-2", "player-play"),
    Status.VALIDATING: ("blue", "loader-2", "clipboard-check"),
    Status.UPLOADING: ("blue", "loader-2", "cloud-upload"),
    Status.COMPLETED: ("green", "circle-check", "check"),
    Status.FAILED: ("red", "circle-x", "circle-x"),
    Status.TIMED_OUT: ("red", "clock-x", "clock-x"),
    Status.CANCELED: ("grey", "ban", "ban"),
}


@register.inclusion_tag("components/chip.html")
def result_chip(run: JobRun, size: str = "") -> dict[str, Any]:
    """Draw the result chip of lists and heads; of a run that waits it says what would help."""
    look, icon, words = CHIPS[chip(run.status, run.result)]
    return {
        "look": look,
        "icon": icon,
        "words": words,
        "spins": icon == "loader-2",
        "size": size,
        "title": waiting.act(run),
    }


@register.inclusion_tag("components/chip.html")
def status_chip(status: str, size: str = "") -> dict[str, Any]:
    """Draw the lifecycle chip of My Jobs, Home and the status history."""
    look, icon, _ = LIFECYCLE[status]
    words = Status(status).label
    return {"look": look, "icon": icon, "words": words, "spins": icon == "loader-2", "size": size}


# what became of a planned start → (look, icon, words); colour belongs to what a run found
FATES: dict[str, tuple[str, str, str]] = {
    "ran": ("plain", "check", "On time"),
    "late": ("orange", "clock-exclamation", "Late"),
    "skipped": ("grey", "player-skip-forward", "Skipped"),
    "never_began": ("red", "alert-triangle", "Never began"),
    "missed": ("red", "calendar-x", "Missed"),
}


@register.inclusion_tag("components/chip.html")
def fate_chip(start: Occurrence) -> dict[str, Any]:
    """Draw what became of a planned start."""
    look, icon, words = FATES[start.fate]
    return {"look": look, "icon": icon, "words": words}


# what is missing of a target's coverage → (look, icon, words)
GAPS: dict[str, tuple[str, str, str]] = {
    Gap.NO_JOB: ("grey", "circle-dashed", "No job"),
    Gap.NEVER: ("red", "circle-x", "Never backed up"),
    Gap.OVERDUE: ("orange", "clock-exclamation", "Too long ago"),
}


@register.inclusion_tag("components/chip.html")
def gap_chip(gap: str) -> dict[str, Any]:
    """Draw what is missing of a target's coverage."""
    look, icon, words = GAPS[gap]
    return {"look": look, "icon": icon, "words": words}


@register.filter
def began_after(start: Occurrence) -> timedelta | None:
    """Give how long after its planned time a start's run began; None where it did not yet."""
    run = getattr(start, "run", None)
    return run.started_at - start.planned_at if run is not None and run.started_at else None


@register.filter
def look(run: JobRun) -> str:
    """Name the colour of a run's result chip."""
    return CHIPS[chip(run.status, run.result)][0]


@register.filter
def took(run: JobRun) -> float | None:
    """Give a run's duration in seconds: the tool's own, else from its start to its end."""
    if run.duration_s is not None or run.started_at is None or run.finished_at is None:
        return run.duration_s
    return (run.finished_at - run.started_at).total_seconds()


@register.filter
def is_final(run: JobRun) -> bool:
    """Say whether the run has ended."""
    return run.status in FINAL


@register.inclusion_tag("components/path.html")
def run_path(run: JobRun, transitions: list[StatusTransition], zone: str) -> dict[str, Any]:
    """Draw a run's path through its states, with how long each took.

    The state in which a failed or timed out run spent its time is marked as the slow one.
    """
    spans = [(b.at - a.at).total_seconds() for a, b in pairwise(transitions)]
    slowest = max(spans, default=0.0)
    bad = run.status in (Status.FAILED, Status.TIMED_OUT)
    steps = []
    for index, move in enumerate(transitions):
        final = move.to_status in FINAL
        spent = spans[index] if index < len(spans) else None
        now = spent is None and not final and move.to_status != Status.PENDING
        steps.append(
            {
                "look": LIFECYCLE[move.to_status][0] if final else "",
                "icon": "loader-2" if now else LIFECYCLE[move.to_status][2],
                "words": move.get_to_status_display(),
                "at": move.at,
                "duration": spent,
                "slow": bad and spent is not None and spent == slowest and slowest >= 1,
                "now": now,
            }
        )
    return {"steps": steps, "zone": zone}


@register.filter
def brief(run: JobRun) -> str:
    """Say in a few words what a row adds to the run's name; why it waits, as `told` has read."""
    if run.status == Status.PENDING:
        return waiting.brief(run)
    if run.status in EXECUTING:
        return f"{run.progress} %" if run.progress is not None else (run.message or "")[:80]
    if run.status == Status.CANCELED:
        return "before it began"
    if run.status in (Status.FAILED, Status.TIMED_OUT):
        if run.reason and run.reason != "error":
            return run.get_reason_display()
        return first_line(run.error or run.message)[:120]
    if run.result == Result.MODIFIED and run.snapshot:
        return f"{run.snapshot.changes:,} file{'s' if run.snapshot.changes != 1 else ''}"
    return run.target.name if run.target else first_line(run.summary or run.message)[:120]


@register.filter
def first_line(text: str) -> str:
    """Take the first line of a text."""
    return text.strip().split("\n", 1)[0]


@register.filter
def after_first_line(text: str) -> str:
    """Take what follows the first line of a text."""
    return text.strip().partition("\n")[2].strip()


@register.simple_tag(takes_context=True)
def held_by(context: template.Context, agents: list[Any]) -> dict[int, int]:
    """Count, in one query, the runs that each agent holds and that the viewer may see."""
    user = context["request"].user
    rows = run_policy.rows(
        user, "view", JobRun.objects.executing().filter(agent__in=[agent.pk for agent in agents])
    )
    return dict(rows.order_by().values_list("agent").annotate(number=Count("pk")))


# weight of a cause → (look, icon, words)
CAUSES = {
    "likely": ("red", "alert-triangle", "Likely"),
    "possible": ("orange", "help-circle", "Possible"),
    "unlikely": ("grey", "minus", "Unlikely"),
}


@register.inclusion_tag("components/chip.html")
def cause_chip(weight: str) -> dict[str, Any]:
    """Draw how likely a cause is."""
    look, icon, words = CAUSES[weight]
    return {"look": look, "icon": icon, "words": words}


# The small chart of durations: each bar 10 wide and 15 from the last, the limit 40 high.
_STEP, _FULL, _FLOOR = 15, 40, 46


@register.inclusion_tag("components/durations.html")
def durations(took: Sequence[float], limit: int) -> dict[str, Any]:
    """Draw how long runs took, the oldest first, under the line of the limit; the last is red."""
    most = max(limit, *took)
    bars = []
    for index, seconds in enumerate(took):
        height = max(2, round(_FULL * seconds / most))
        last = index == len(took) - 1
        bars.append(
            {
                "x": index * _STEP,
                "y": _FLOOR - height,
                "height": height,
                "seconds": seconds,
                "last": last,
            }
        )
    end = len(took) * _STEP
    line = _FLOOR - max(2, round(_FULL * limit / most))
    return {
        "bars": bars,
        "limit": limit,
        "line": line,
        "end": end,
        "words_x": end + 8,
        "words_y": line + 5,
        "width": end + 110,
        "height": _FLOOR,
        "first": took[0],
        "final": took[-1],
    }
