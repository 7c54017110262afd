"""Why a run timed out: the four usual causes, ordered by what the portal saw (S0-23)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from agents.catalogue import queue_of_id, why_nobody_takes
from sites.templatetags.portal import duration, many

from .models import JobRun
from .states import Reason, Status

LIKELY, POSSIBLE, UNLIKELY = "likely", "possible", "unlikely"
_ORDER = (LIKELY, POSSIBLE, UNLIKELY)
LIMIT, CONNECTIVITY, OVERLAP, AGENT = (
    "Timeout value too short",
    "Agent connectivity",
    "Overlapping jobs",
    "Agent issue",
)
# So many runs before this one say how long the job usually takes.
EARLIER = 19
# A run that came this near to its limit before makes the limit the likely cause.
NEAR = 0.7
# The longest limit of a job, in minutes.
LONGEST = 7 * 24 * 60
# So many of the runs at the same time are named; no more than so many are counted.
NAMED, COUNTED = 3, 20
# No older run is looked for at the same time: the list of runs is read along when they were made.
OLDEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause, how likely it is, and what was seen, with the step that cures it.

    `others` ran at the same time. `took` is how long the job's runs took, in seconds, the oldest
    first and this one last. `seen_at` is when the agent was last heard of. `cure` is "limit" or
    "agent", what a button leads to where the reader may see or edit it.
    """

    weight: str
    title: str
    text: str
    others: Sequence[JobRun] = ()
    took: Sequence[float] = ()
    seen_at: datetime | None = None
    cure: str = ""


def likely_causes(
    run: JobRun,
    *,
    among: QuerySet[JobRun],
    silent: bool = False,
    seen_at: datetime | None = None,
) -> list[Cause]:
    """Order the causes of a time-out by the evidence; the most likely comes first.

    Two queries, a few more for a run that no agent took. ``among`` is what the reader may see: no
    other run counts as seen. ``silent`` says that the portal lost sight of the agent during the
    run, or at the end of the wait of one that nobody took; ``seen_at`` is when the agent was last
    heard of, where the reader may see that.
    """
    match run.reason:
        case Reason.DEADLINE:
            found = _of_deadline(run, among, silent, seen_at)
        case Reason.AGENT_LOST:
            found = _of_silence(run, among, seen_at)
        case _:
            found = _of_waiting(run, among, silent, seen_at)
    return sorted(found, key=lambda cause: _ORDER.index(cause.weight))


def raised(run: JobRun) -> int | None:
    """Give half as much again as the limit, in whole minutes; None where the job has more now."""
    if run.job is None or run.job.run_limit_s > run.run_timeout_s:
        return None
    minutes = -(-run.run_timeout_s * 3 // 120)
    return minutes if minutes <= LONGEST else None


def _of_deadline(
    run: JobRun, among: QuerySet[JobRun], silent: bool, seen_at: datetime | None
) -> list[Cause]:
    others, earlier = _at_the_same_time(run, among), _earlier(run, among)
    near = not earlier or max(earlier) >= NEAR * run.run_timeout_s
    stood = f" It stood at {run.progress} %." if run.progress is not None else ""
    too_short = Cause(
        POSSIBLE if silent or (others and not earlier) or (earlier and not near) else LIKELY,
        LIMIT,
        _usually(run, earlier),
        took=[*earlier, run.duration_s or run.run_timeout_s] if earlier else (),
        cure="limit" if near and not silent else "",
    )
    overlap = _overlap(run, others, likely=not silent and not (earlier and near))
    if silent:
        # What was seen comes before what may have been: nobody knows what it did meanwhile.
        return [
            Cause(
                LIKELY,
                CONNECTIVITY,
                f"{run.agent} fell silent for more than a minute during the run.",
                seen_at=seen_at,
                cure="agent",
            ),
            Cause(
                POSSIBLE,
                AGENT,
                f"{run.agent} may have hung while it was silent. Look at its own log on the"
                f" machine.{stood}",
            ),
            too_short,
            overlap,
        ]
    hung = not near and not others
    return [
        too_short,
        overlap,
        Cause(
            UNLIKELY,
            CONNECTIVITY,
            f"{run.agent} was never silent for longer than a minute.",
            seen_at=seen_at,
        ),
        Cause(
            LIKELY if hung else UNLIKELY,
            AGENT,
            f"{run.agent} said that it was at work until the limit, for far longer than in any run"
            f" before it.{stood} The log says where."
            if hung
            else f"{run.agent} reported that it was at work until the limit.{stood}",
            cure="agent" if hung else "",
        ),
    ]


def _of_silence(run: JobRun, among: QuerySet[JobRun], seen_at: datetime | None) -> list[Cause]:
    others, earlier = _at_the_same_time(run, among), _earlier(run, among)
    restarted = any(other.reason == Reason.AGENT_RESTARTED for other in others)
    said = f"{run.agent} sent no heartbeat for more than a minute."
    if seen_at is not None and run.finished_at is not None:
        said += (
            " It came back later: the network or its machine was away for a while."
            if seen_at > run.finished_at
            else " Look whether its machine is on and reaches the portal."
        )
    return [
        Cause(
            LIKELY if restarted else POSSIBLE,
            AGENT,
            f"{run.agent} was restarted: it said so of another run at that time."
            if restarted
            else f"{run.agent} may have stopped or crashed. Look at its own log on the machine.",
        ),
        Cause(POSSIBLE if restarted else LIKELY, CONNECTIVITY, said, seen_at=seen_at, cure="agent"),
        _overlap(run, others, likely=False),
        Cause(
            UNLIKELY,
            LIMIT,
            f"{_usually(run, earlier)} It was not what ended the run.",
            took=[*earlier, run.duration_s] if earlier and run.duration_s is not None else (),
        ),
    ]


def _of_waiting(
    run: JobRun, among: QuerySet[JobRun], silent: bool, seen_at: datetime | None
) -> list[Cause]:
    whom = run.requested_agent or run.requested_pool
    others = _at_the_same_time(run, among)
    why = why_nobody_takes(queue_of_id(run.queue_id)) if run.queue_id is not None else ""
    if silent:
        said = f"{whom} was silent when the longest wait ended."
    elif whom:
        said = f"{whom} took no run in time. Look whether it is Active on the page Agents."
    else:
        said = (
            "No agent that can do it took it in time. "
            "Look whether one is Active on the page Agents."
        )
    return [
        Cause(
            LIKELY if silent or not (others or why) else POSSIBLE,
            CONNECTIVITY,
            said,
            seen_at=seen_at,
            cure="agent" if run.requested_agent else "",
        ),
        _overlap(run, others, likely=not (silent or why))
        if others
        else Cause(
            POSSIBLE,
            OVERLAP,
            "No other run on the target was seen while it waited; "
            "others may have held every free slot.",
        ),
        Cause(
            LIKELY if why else POSSIBLE,
            AGENT,
            why or f"The agent may have been draining, paused or without {run.function}.",
        ),
        Cause(
            UNLIKELY,
            LIMIT,
            "The limit for the work was not what ended it; the longest wait was.",
        ),
    ]


def _overlap(run: JobRun, others: list[JobRun], *, likely: bool) -> Cause:
    if not others:
        return Cause(UNLIKELY, OVERLAP, f"{run.agent} had no other run at the same time.")
    number = f"more than {COUNTED}" if len(others) > COUNTED else str(len(others))
    noun = "run" if len(others) == 1 else "runs"
    text = f"There {'was' if len(others) == 1 else 'were'} {number} other {noun} at the same time"
    return Cause(
        LIKELY if likely else POSSIBLE,
        OVERLAP,
        f"{text} on the same agent or target. "
        "Start one of them later, or give the agent fewer at a time.",
        others=others[:NAMED],
    )


def _usually(run: JobRun, earlier: list[float]) -> str:
    """Say how long the job took before, beside the limit."""
    limit = f"The limit is {duration(run.run_timeout_s)}."
    if not earlier:
        return f"No completed run before it says how long it usually takes. {limit}"
    first, last = earlier[0], earlier[-1]
    runs = many(len(earlier), "completed run")
    if len(earlier) > 4 and last > 1.2 * first and last >= 0.9 * max(earlier):
        return f"The last {runs} grew from {duration(first)} to {duration(last)}. {limit}"
    least, most = duration(min(earlier)), duration(max(earlier))
    span = least if least == most else f"{least} to {most}"
    return f"The last {runs} took {span}. {limit}"


def _earlier(run: JobRun, among: QuerySet[JobRun]) -> list[float]:
    """Give how long the job's completed runs before this one took, the oldest first."""
    if run.job_id is None:
        return []
    rows = among.filter(
        job=run.job_id,
        status=Status.COMPLETED,
        duration_s__isnull=False,
        created_at__lt=run.created_at,
    ).order_by("-created_at", "-pk")
    found = rows.values_list("duration_s", flat=True)[:EARLIER]
    return [seconds for seconds in found if seconds is not None][::-1]


def _at_the_same_time(run: JobRun, among: QuerySet[JobRun]) -> list[JobRun]:
    """Give the other runs of the agent, or on the target, between this one's start and its end."""
    same = Q(agent=run.agent_id) if run.agent_id else Q()
    if run.target_id:
        same |= Q(target=run.target_id)
    began = run.started_at or run.created_at
    if not same or run.finished_at is None:
        return []
    rows = among.filter(
        same,
        Q(finished_at__gt=began) | Q(finished_at=None),
        organization=run.organization_id,
        created_at__gt=began - OLDEST,
        created_at__lt=run.finished_at,
        started_at__lt=run.finished_at,
    )
    return list(rows.exclude(pk=run.pk).order_by("-created_at", "-pk")[: COUNTED + 1])
