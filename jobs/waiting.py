"""Why a pending run is still pending, and which act would let it go on: the one place for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Case, Exists, OuterRef, Subquery, When
from django.db.models.expressions import RawSQL

from agents import catalogue
from agents.models import Agent, Queue
from agents.permissions import agent_policy, pool_policy
from sites import pauses
from sites.access.policy import Person
from sites.permissions import site_policy
from sites.templatetags.portal import since

from . import doubts, signs
from .models import JobRun, SiteSchedule
from .models.run import statuses
from .permissions import job_policy, run_policy
from .states import EXECUTING, Origin, Status


class Code(StrEnum):
    """What a run waits for; where several hold, the first of these is told."""

    ELSEWHERE = "elsewhere"  # another system's run: it knows
    PAUSED = "paused"  # its job or its site
    TURN = "turn"  # its site's schedule lets so many in at once
    NO_AGENT = "no_agent"  # none serves the place, the pool, or is the one that was asked for
    NO_FUNCTION = "no_function"  # none of those has the function in that version
    RESTRICTED = "restricted"  # a restricted pool keeps each of those for others
    AWAY = "away"  # each of those is silent, or was never seen
    DRAINING = "draining"  # those that are there drain, or are paused
    BEHIND = "behind"  # another run does the same on the same target
    SLOTS = "slots"  # each that is there has as many runs as it takes
    SOON = "soon"  # one is free: about to take it, or it should have by now


# Of SOON, where a minute has passed: a row does not ask who is free, and since when.
_NOT_TAKEN = "not taken yet"
# What a list says, in the room that a row has, also of a run that one agent was asked for.
_BRIEF = {
    Code.ELSEWHERE: "waits elsewhere",
    Code.TURN: "waits for its turn",
    Code.NO_AGENT: "no agent can take it",
    Code.NO_FUNCTION: "no agent has the function",
    Code.RESTRICTED: "its agents are kept for others",
    Code.AWAY: "its agents are away",
    Code.DRAINING: "its agents take no runs now",
    Code.BEHIND: "behind another run",
    Code.SLOTS: "every slot is taken",
    Code.SOON: "about to be taken",
}
_BRIEF_OF_ONE = {
    Code.NO_AGENT: "its agent cannot take it",
    Code.NO_FUNCTION: "its agent lacks the function",
    Code.AWAY: "its agent is away",
    Code.DRAINING: "its agent takes no runs now",
    Code.SLOTS: "its agent has no free slot",
}


@dataclass(frozen=True, slots=True)
class Page:
    """Where the act is done: the name of an address, of what, and what the link says."""

    name: str
    of: UUID | None
    words: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a run waits: `message` in a sentence, `brief` in a few words; `act` would let it go on.

    `act` is empty where nothing has to be done. `page` is only given to who may open it, `behind`
    is the run before it where the reader may see that.
    """

    code: Code
    message: str
    brief: str
    act: str
    page: Page | None = None
    behind: UUID | None = None


def told(runs: Iterable[JobRun], *, by: Person) -> list[Any]:
    """Give runs with what `brief` and `of` ask: one query more, and none where none is pending.

    It is not asked along with the rows: a database takes longer to plan that than to read a page of
    runs, of which as a rule none is pending.
    """
    rows: list[Any] = list(runs)
    pending = [run.pk for run in rows if run.status == Status.PENDING]
    found = {row["pk"]: row for row in _asked(pending, by)} if pending else {}
    for run in rows:
        row = found.get(run.pk)
        # One that is pending no more was taken between the two queries: nobody is late for it.
        run.is_taken = row is None
        run.stands = row["stands"] if row else Code.SOON
        run.is_behind = bool(row and row["is_behind"])
        run.behind = row["behind"] if row else None
        run.is_readers = run.started_by_id == by.pk
    return rows


def _asked(pending: list[int], by: Person) -> Iterable[Any]:
    held = ", ".join(f"'{status}'" for status in statuses(EXECUTING))
    stands = catalogue.standing(
        "COALESCE(jobs_jobrun.queue_id, jobs_jobrun.next_queue_id)",
        "SELECT COUNT(*) FROM jobs_jobrun AS taken WHERE taken.agent_id = agent.id"
        f" AND taken.status IN ({held})",
    )
    before = JobRun.objects.executing().filter(
        target=OuterRef("target"), function=OuterRef("function"), overlap=False
    )
    seen = run_policy.rows(by, "view", before)
    waiting = JobRun.objects.filter(pk__in=pending, status=Status.PENDING)
    return waiting.values(
        "pk",
        stands=RawSQL(stands, (), output_field=models.TextField()),
        is_behind=_if_alone(Exists(before)),
        behind=_if_alone(Subquery(seen.values("public_id")[:1])),
    )


def _if_alone(value: Any) -> Case:
    return Case(When(overlap=False, then=value), default=None)


def brief(run: Any) -> str:
    """Say in a few words why a run waits that `told` has read; empty where it does not."""
    if run.status != Status.PENDING:
        return ""
    code = _code(run)
    if code == Code.PAUSED:
        return "its site is paused" if run.site and run.site.is_paused else "its job is paused"
    if code == Code.SOON and _is_overdue(run):
        return _NOT_TAKEN
    return (_BRIEF | _BRIEF_OF_ONE if run.requested_agent_id else _BRIEF)[code]


def in_brief(run: Any) -> Waiting | None:
    """Say why a run waits that `told` has read, as a list does: nothing is looked up for it."""
    if run.status != Status.PENDING:
        return None
    code, words = _code(run), brief(run)
    message = f"{words[0].upper()}{words[1:]}."
    behind = run.behind if code == Code.BEHIND else None
    return Waiting(code, message, words, _act_in_brief(run, code), behind=behind)


def act(run: Any) -> str:
    """Say what would let a run go on that `told` has read; empty where nothing has to be done.

    Also of one that a list shows beside something else, and `told` has not read.
    """
    known = run.status == Status.PENDING and hasattr(run, "stands")
    return _act_in_brief(run, _code(run)) if known else ""


def _act_in_brief(run: Any, code: Code) -> str:
    """Say what would help: a row does not ask what its reader may see."""
    if code == Code.PAUSED:
        return "Wait until the pause is over, or have it ended."
    if code == Code.SOON and _is_overdue(run):
        return f"Look at the log of {run.requested_agent or 'the agents that are free'}."
    return _act(run, code, None)


def of(run: JobRun, *, by: Person) -> Waiting | None:
    """Say why a run waits, to this reader; None where it does not.

    A handful of queries: names and pages are looked up. The name of the one agent that was asked
    for is the run's own; others are named to who may see them (domain rules 2 and 8).
    """
    if run.status != Status.PENDING:
        return None
    known: Any = run
    if not hasattr(run, "stands"):
        known = JobRun.objects.for_rows().get(pk=run.pk)
        if known.status != Status.PENDING:
            return None
        told([known], by=by)
    code = _code(known)
    paused = _paused(known, by) if code == Code.PAUSED else []
    if code == Code.PAUSED and not paused:
        code = _code(known)  # the pause has ended between the two
    queue = signs.queue_of(known) if code not in (Code.ELSEWHERE, Code.PAUSED, Code.TURN) else None
    only = _only(queue, by) if queue and code in (Code.AWAY, Code.DRAINING, Code.SLOTS) else None
    late = code == Code.SOON and _is_overdue(known)
    if late and queue and (idle := signs.idle(known, queue, by=by)):
        return _not_taken(known, idle, by)
    page = _page(known, code, only)
    # What the reader may not see they cannot resume either.
    hidden = code == Code.PAUSED and not any(seen for _, _, seen in paused)
    return Waiting(
        code,
        _of_pauses(known, paused) if paused else _message(known, code, queue, only),
        _BRIEF[code] if code == Code.SOON else brief(known),
        "Wait until then." if hidden else _act(known, code, only),
        page if page is not None and _may_open(by, known, page, only) else None,
        known.behind if code == Code.BEHIND else None,
    )


def _not_taken(run: Any, idle: signs.Idle, by: Person) -> Waiting:
    """Say that agents are free and online and do not take it: only their own logs tell why."""
    lasts = since(min(idle.lasts, signs.LOOKED_BACK).total_seconds())
    if idle.lasts > signs.LOOKED_BACK:
        lasts = f"more than {lasts}"
    page = _page_of(idle.agent)
    return Waiting(
        Code.SOON,
        f"Several agents are free and online but have not taken it for {lasts}."
        if idle.several
        else f"{idle.agent or 'An agent'} is free and online but has not taken it for {lasts}.",
        _NOT_TAKEN,
        "Look at their logs." if idle.several else "Look at its log.",
        page if _may_open(by, run, page, idle.agent) else None,
    )


def _is_overdue(run: Any) -> bool:
    return not run.is_taken and signs.is_overdue(run)


def _code(run: Any) -> Code:
    if run.origin != Origin.LOCAL:
        return Code.ELSEWHERE
    if any(one is not None and one.is_paused for one in (run.site, run.job)):
        return Code.PAUSED
    if run.next_queue_id is not None:
        return Code.TURN
    stands = Code(run.stands or Code.NO_AGENT)
    if stands in (Code.SOON, Code.SLOTS) and run.is_behind:
        return Code.BEHIND
    return stands


def _only(queue: Queue, by: Person) -> Agent | None:
    """Give the agent that was asked for, or the only one there is, where the reader sees that."""
    if queue.agent is not None:
        return queue.agent
    found = catalogue.takers(queue).order_by().distinct().values("pk")[:2]
    ids = [row["pk"] for row in found]
    if len(ids) != 1:
        return None
    agent: Agent | None = agent_policy.rows(by, "view", Agent.objects.filter(pk=ids[0])).first()
    return agent


def _paused(run: Any, by: Person) -> list[tuple[str, Any, bool]]:
    """List what is paused that a run needs: kind, itself, and whether this person may see it."""
    needed = (("Site", run.site, site_policy), ("Job", run.job, job_policy))
    return [
        (kind, one, policy.allows(by, "view", one))
        for kind, one, policy in needed
        if one is not None and one.is_paused
    ]


def _of_pauses(run: Any, paused: list[tuple[str, Any, bool]]) -> str:
    zone = pauses.zone_of(run.site)
    return " ".join(doubts.pause_of(kind, one, zone=zone, why=seen) for kind, one, seen in paused)


def _message(run: Any, code: Code, queue: Queue | None, only: Agent | None) -> str:
    match code:
        case Code.ELSEWHERE:
            return "It waits in the system that it was started in."
        case Code.TURN:
            stuck = ", and no agent has taken what it let in" if _is_stuck(run) else ""
            return f"It waits for its turn: {_at_once(run)}{stuck}."
        case Code.BEHIND if run.behind is not None:
            return f"It waits behind run {str(run.behind)[:6]}… on the same target."
        case Code.BEHIND:
            return "It waits behind another run on the same target."
        case Code.SLOTS if only is not None:
            runs = "the one run" if only.slots == 1 else f"the {only.slots} runs"
            return f"{only} has {runs} that it takes at a time."
        case Code.SLOTS:
            return "Each agent that is there for it has as many runs as it takes at a time."
    assert queue is not None
    said = ""
    if code in (Code.AWAY, Code.DRAINING):
        said = catalogue.who_is_away(queue, only)
    elif code != Code.SOON:
        said = catalogue.why_nobody_takes(queue)
    if said:
        return said
    # One is free; or came back between two questions.
    return f"{run.requested_agent or 'An agent'} is about to take it."


def _is_stuck(run: Any) -> bool:
    """Say whether all that its site's schedule has let in waits for agents."""
    entered = JobRun.objects.active().filter(site=run.site_id, in_turn=True, next_queue=None)
    found = set(entered.order_by().values_list("status", flat=True).distinct())
    return found == {Status.PENDING}


def _at_once(run: Any) -> str:
    schedule = SiteSchedule.objects.filter(site=run.site_id).first()
    if schedule is None:
        return f"the schedule of {run.site} lets it in next"
    runs = "one run" if schedule.at_once == 1 else f"{schedule.at_once} runs"
    return f"the schedule of {run.site} has {runs} at work at once"


def _act(run: Any, code: Code, only: Agent | None) -> str:
    agent, pool = run.requested_agent, run.requested_pool
    one = agent or only
    where = f"of the pool {pool}" if pool else f"of {run.site}"
    # What a run asks for is fixed: another choice is one of the next run. Who has started it, and
    # nobody else, cancels it (domain rule 1).
    cancel = "cancel it" if run.is_readers else "have it canceled by who started it"
    otherwise = (
        f"{cancel}, choose another one for the job and start it again"
        if run.job
        else f"{cancel} and start it for another one"
    )
    match code:
        case Code.PAUSED:
            both = run.site and run.site.is_paused and run.job and run.job.is_paused
            what = "both" if both else "the site" if run.site and run.site.is_paused else "the job"
            return f"Resume {what}, or wait until then."
        case Code.TURN:
            return (
                "Wait, see why those before it wait, or let the site's schedule have more at work"
                " at once."
            )
        case Code.NO_AGENT if agent:
            return f"{otherwise[0].upper()}{otherwise[1:]}."
        case Code.NO_AGENT if pool:
            return f"Add an agent that serves {run.site} to the pool {pool}."
        case Code.NO_AGENT:
            return f"Add an agent for {run.site}."
        case Code.NO_FUNCTION:
            what = f"{run.function.tool.name} {run.version}".rstrip()
            to = f"{agent}" if agent else f"an agent {where}"
            return f"Give {to} the tool {what}, or {otherwise if agent else 'wait for one'}."
        case Code.RESTRICTED:
            chosen = "choose one of those agents or its pool for the job and start it again"
            anew = chosen if run.job else "start it for one of those agents or its pool"
            first = f"{cancel[0].upper()}{cancel[1:]}"
            return f"{first} and {anew}, or take one out of its restricted pool."
        case Code.AWAY:
            who = f"{one}" if one else "one of them"
            return f"Start {who} on its machine" + (f", or {otherwise}." if agent else ".")
        case Code.DRAINING:
            who = f"{one}" if one else "one of them"
            return f"Let {who} take runs again" + (f", or {otherwise}." if agent else ".")
        case Code.BEHIND:
            return "Wait for its end."
        case Code.SLOTS if agent:
            return f"Wait, or raise the slots of {agent}."
        case Code.SLOTS:
            to = f" to the pool {pool}" if pool else ""
            return f"Wait, raise the slots of {one or 'one of them'}, or add an agent{to}."
    return ""


def _page(run: Any, code: Code, only: Agent | None) -> Page | None:
    edit = Page("job-edit", run.job.public_id, "Edit job") if run.job else None
    agents = Page("agent-list", None, "Open Agents")
    match code:
        case Code.PAUSED if run.site and run.site.is_paused:
            return Page("site-list", None, "Open Sites")
        case Code.PAUSED:
            return Page("job-detail", run.job.public_id, "Open the job")
        case Code.TURN:
            return Page("site-schedule", run.site.public_id, "Open the site's schedule")
        case Code.BEHIND:
            return Page("run-detail", run.behind, "Open that run") if run.behind else None
        case Code.NO_AGENT if run.requested_agent:
            return edit
        case Code.NO_AGENT if run.requested_pool:
            return Page("pool-edit", run.requested_pool.public_id, "Open the pool")
        case Code.RESTRICTED:
            return edit or agents
        case Code.SOON | Code.ELSEWHERE:
            return None
    return _page_of(run.requested_agent or only)


def _page_of(agent: Agent | None) -> Page:
    if agent is None:
        return Page("agent-list", None, "Open Agents")
    return Page("agent-detail", agent.public_id, "Open the agent")


def _may_open(by: Person, run: Any, page: Page, only: Agent | None) -> bool:
    """Ask what the page asks; `behind` and `only` were read for this person."""
    match page.name:
        case "job-edit":
            return job_policy.allows(by, "edit", run.job)
        case "site-list":
            return site_policy.allows(by, "view", run.site)
        case "job-detail":
            return job_policy.allows(by, "view", run.job)
        case "site-schedule":
            return site_policy.allows(by, "manage", run.site)
        case "pool-edit":
            return pool_policy.allows(by, "manage", run.requested_pool)
        case "agent-detail" if run.requested_agent is not None:
            return agent_policy.allows(by, "view", run.requested_agent)
    return True
