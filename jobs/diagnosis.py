"""Why a run timed out: the four usual causes, ordered by what the portal saw (S0-23)."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from .models import JobRun
from .states import Reason

LIKELY, POSSIBLE, UNLIKELY = "likely", "possible", "unlikely"
_ORDER = (LIKELY, POSSIBLE, UNLIKELY)


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause, how likely it is, and what was seen with the step that cures it."""

    weight: str
    title: str
    text: str


def likely_causes(run: JobRun, *, among: QuerySet[JobRun]) -> list[Cause]:
    """Order the causes of a time-out by the evidence, one query; the most likely comes first.

    ``among`` is what the reader may see: no other run counts as seen at the same time.
    """
    match run.reason:
        case Reason.DEADLINE:
            found = _of_deadline(run, among)
        case Reason.AGENT_LOST:
            found = _of_silence(run, among)
        case _:
            found = _of_waiting(run)
    return sorted(found, key=lambda cause: _ORDER.index(cause.weight))


def _of_deadline(run: JobRun, among: QuerySet[JobRun]) -> list[Cause]:
    others = _at_the_same_time(run, among)
    beside = (
        f"{run.agent} had {others} other run{'s' if others != 1 else ''} at the same time. "
        "Give it fewer runs at a time, or start one of them later."
        if others
        else f"{run.agent} had no other run at the same time."
    )
    return [
        Cause(
            POSSIBLE if others else LIKELY,
            "Timeout value too short",
            f"The work took longer than its limit of {run.run_timeout_s:,} s. "
            "Raise the limit of the job if the work is growing.",
        ),
        Cause(LIKELY if others else UNLIKELY, "Overlapping jobs", beside),
        Cause(UNLIKELY, "Agent connectivity", f"{run.agent} was heard of until the limit."),
        Cause(
            UNLIKELY, "Agent issue", f"{run.agent} reported that it was at work until the limit."
        ),
    ]


def _of_silence(run: JobRun, among: QuerySet[JobRun]) -> list[Cause]:
    others = _at_the_same_time(run, among)
    beside = (
        f"{run.agent} had {others} other run{'s' if others != 1 else ''} at the same time."
        if others
        else f"{run.agent} had no other run at the same time."
    )
    return [
        Cause(
            LIKELY,
            "Agent connectivity",
            f"{run.agent} sent no heartbeat for more than a minute. "
            "Look at the connection of its machine to the portal.",
        ),
        Cause(
            POSSIBLE,
            "Agent issue",
            f"{run.agent} may have stopped or crashed. Look at its own log on the machine.",
        ),
        Cause(POSSIBLE if others else UNLIKELY, "Overlapping jobs", beside),
        Cause(UNLIKELY, "Timeout value too short", "The limit for the work was not what ended it."),
    ]


def _of_waiting(run: JobRun) -> list[Cause]:
    whom = run.requested_agent or run.requested_pool
    return [
        Cause(
            LIKELY,
            "Agent connectivity",
            f"{whom} took no run in time. Look whether it is Active on the page Agents."
            if whom
            else "No agent that can do it took it in time. "
            "Look whether one is Active on the page Agents.",
        ),
        Cause(
            POSSIBLE,
            "Overlapping jobs",
            "Other runs may have held every free slot, or the target, while it waited.",
        ),
        Cause(
            POSSIBLE,
            "Agent issue",
            f"The agent may be draining, or no longer have the function {run.function}.",
        ),
        Cause(
            UNLIKELY,
            "Timeout value too short",
            "The limit for the work was not what ended it; the longest wait was.",
        ),
    ]


def _at_the_same_time(run: JobRun, among: QuerySet[JobRun]) -> int:
    """Count the agent's other runs between this one's start and its end."""
    if run.agent_id is None or run.started_at is None or run.finished_at is None:
        return 0
    return (
        among.filter(agent=run.agent_id, started_at__lt=run.finished_at)
        .exclude(pk=run.pk)
        .exclude(finished_at__lt=run.started_at)
        .count()
    )
