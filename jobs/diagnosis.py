"""Why a run timed out: the four usual causes, ordered by what the portal saw (S0-23)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from agents.catalogue import why_nobody_takes
from sites.access.policy import Person
from sites.templatetags.portal import duration, many

from . import limits, signs
from .models import JobRun
from .permissions import run_policy
from .signs import Silence
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
# In less than so many seconds an agent may just be restarting, or be at work on another run.
SHORT_S = 600
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
    first and this one last. `seen_at` is when the agent was last heard of, `agents` are those that
    might have taken the run, with `seen_at`, where the reader may see them. `cure` is "limit" or
    "agent", what a button leads to where the reader may see or edit it.
    """

    weight: str
    title: str
    text: str
    others: Sequence[JobRun] = ()
    agents: Sequence[Any] = ()
    took: Sequence[float] = ()
    seen_at: datetime | None = None
    cure: str = ""


def likely_causes(run: Any, *, by: Person, seen_at: datetime | None = None) -> list[Cause]:
    """Order the causes of a time-out by the evidence; the most likely comes first.

    Two queries, a few more for a run that no agent took. The run comes with `signs.evidence`. No
    run counts as seen that this reader may not see; ``seen_at`` is when the agent was last heard
    of, where the reader may see that.
    """
    among = run_policy.rows(by, "view", JobRun.objects.all())
    match run.reason:
        case Reason.DEADLINE:
            found = _of_deadline(run, among, run.agent_was_lost, seen_at)
        case Reason.AGENT_LOST:
            found = _of_lapse(run, among, signs.silence_of(run), seen_at)
        case _:
            found = _of_waiting(run, among, by, seen_at)
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


def _of_lapse(
    run: JobRun, among: QuerySet[JobRun], silence: Silence, seen_at: datetime | None
) -> list[Cause]:
    """Say why its agent's lease ended: nothing was heard of the agent, or nothing of this run."""
    others, earlier = _at_the_same_time(run, among), _earlier(run, among)
    restarted = any(other.reason == Reason.AGENT_RESTARTED for other in others)
    heard = silence == Silence.NONE
    if restarted:
        why = f"{run.agent} was restarted: it said so of another run at that time."
    elif heard:
        why = (
            f"{run.agent} was heard of all the time, but no longer said that it was at work on this"
            " run. It may have been restarted or have lost it. Look at its own log on the machine."
        )
    else:
        why = f"{run.agent} may have stopped or crashed. Look at its own log on the machine."
    return [
        Cause(
            LIKELY if restarted or heard else POSSIBLE, AGENT, why, cure="agent" if heard else ""
        ),
        Cause(
            UNLIKELY if heard else POSSIBLE if restarted else LIKELY,
            CONNECTIVITY,
            _silence(run, silence, seen_at),
            seen_at=seen_at,
            cure="" if heard else "agent",
        ),
        _overlap(run, others, likely=False),
        Cause(
            UNLIKELY,
            LIMIT,
            f"{_usually(run, earlier)} It was not what ended the run.",
            took=[*earlier, run.duration_s] if earlier and run.duration_s is not None else (),
        ),
    ]


def _silence(run: JobRun, silence: Silence, seen_at: datetime | None) -> str:
    match silence:
        case Silence.NONE:
            return f"{run.agent} was never silent for longer than a minute."
        case Silence.AROUND:
            return f"{run.agent} fell silent for more than a minute about when the run was ended."
    said = f"{run.agent} sent no heartbeat for more than a minute."
    if seen_at is None or run.finished_at is None:
        return said
    if seen_at > run.finished_at:
        return f"{said} It came back later: the network or its machine was away for a while."
    return f"{said} Look whether its machine is on and reaches the portal."


def _of_waiting(
    run: JobRun, among: QuerySet[JobRun], by: Person, seen_at: datetime | None
) -> list[Cause]:
    whom = run.requested_agent or run.requested_pool
    others = _at_the_same_time(run, among)
    queue = signs.queue_of(run) if run.queue_id is not None else None
    takers = signs.takers_of(run, queue, by=by) if queue else []
    why = why_nobody_takes(queue) if queue and not takers else ""
    silent = bool(takers) and all(agent.was_silent for agent in takers)
    if silent:
        who = whom if run.requested_agent else "Each agent that may take it"
        said = f"{who} was silent when the longest wait ended."
    elif whom:
        said = f"{whom} took no run in time. Look whether it is Active on the page Agents."
    else:
        said = (
            "No agent that can do it took it in time. "
            "Look whether one is Active on the page Agents."
        )
    there = [agent for agent in takers if not agent.was_silent]
    return [
        Cause(
            LIKELY if silent or not (others or why or there) else POSSIBLE,
            CONNECTIVITY,
            said,
            agents=[agent for agent in takers if agent.is_shown][:NAMED]
            if not run.requested_agent
            else (),
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
            LIKELY if why or (there and not others) else POSSIBLE,
            AGENT,
            why or _not_taken(run, there),
        ),
        _wait_too_short(run, [] if why else _waited(run, among), hindered=bool(silent or why)),
    ]


def _not_taken(run: JobRun, there: list[Any]) -> str:
    """Say what may have kept agents from a run that were heard of when its wait ended."""
    if not there:
        return f"The agent may have been draining, paused or without {run.function}."
    only = there[0] if len(there) == 1 else None
    named = only if only and (only.is_shown or run.requested_agent_id == only.pk) else None
    who = f"{named}" if named else "An agent that may take it"
    return (
        f"{who} was heard of when the longest wait ended, but had not taken it: it may have been"
        " busy, draining or paused, or did not ask for runs. Look at its own log on the machine."
    )


def _wait_too_short(run: JobRun, earlier: list[float], *, hindered: bool) -> Cause:
    """Hold the longest wait against how long runs of the job waited before, in seconds.

    ``hindered``: nobody could have taken it, however long it had waited.
    """
    limit_s = limits.wait_s(run) or 0
    near = bool(earlier) and max(earlier) >= NEAR * limit_s
    said = f"No agent took it within its longest wait of {duration(limit_s)}."
    if earlier:
        least, most = duration(min(earlier)), duration(max(earlier))
        span = least if least == most else f"{least} to {most}"
        runs = "run" if len(earlier) == 1 else f"last {len(earlier)} runs"
        said += f" The {runs} before it waited {span}."
    elif not hindered:
        said += " No run before it says how long it usually waits."
    if near and not hindered:
        said += " Give it a longer wait."
    short = near or (limit_s < SHORT_S and not hindered)
    return Cause(LIKELY if near and not hindered else POSSIBLE if short else UNLIKELY, LIMIT, said)


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


def _waited(run: JobRun, among: QuerySet[JobRun]) -> list[float]:
    """Give how long runs of the job waited before this one, in seconds, until they began.

    Those that waited for the turn of their site's schedule waited for that, not for an agent.
    """
    if run.job_id is None:
        return []
    rows = among.filter(
        job=run.job_id, started_at__isnull=False, in_turn=False, created_at__lt=run.created_at
    ).order_by("-created_at", "-pk")
    found = rows.values_list("created_at", "started_at")[:EARLIER]
    return [(began - made).total_seconds() for made, began in found if began is not None]


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
