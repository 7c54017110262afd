"""What the portal saw of a run's agents: silent or not at its end, and who was there to take it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import (
    Count,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    Subquery,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from agents import catalogue
from agents.models import Agent, AgentPresence, Queue
from agents.permissions import agent_policy
from agents.presence import LOST, SEEN
from agents.querysets import SILENCE
from sites import pulse
from sites.access.policy import Person
from sites.models import Event

from . import limits
from .models import JobRun
from .querysets import FINISHED

# A lease that ended with its run was renewed at most so long before: 60 s, as many again where
# many agents are silent at once, and what the portal excuses and its tick add.
LAPSE = timedelta(minutes=4)
# Whoever is free takes what waits within seconds; after so long it is no matter of patience.
PATIENCE = timedelta(minutes=1)
# Whether an agent was free is looked up for so long, not further back.
LOOKED_BACK = timedelta(hours=1)
# So many of the agents that may take a run are looked at.
LOOKED_AT = 20


class Silence(StrEnum):
    """Whether the agent of a run was silent for more than a minute when its lease ended."""

    NONE = "none"  # it was heard all along
    BEFORE = "before"  # before the run's end
    AROUND = "around"  # told of soon after the end: for how long before it is not known


def evidence() -> dict[str, Any]:
    """Name what `silence_of` asks of a run, to be read in the query of the run."""
    end = OuterRef("finished_at")
    news = Event.objects.filter(subject_id=OuterRef("agent__public_id"), kind__in=[LOST, SEEN])
    newest = news.filter(at__lt=end).order_by("-pk")
    after = ExpressionWrapper(end + SILENCE, output_field=DateTimeField())
    presence = AgentPresence.objects.filter(agent=OuterRef("agent"))
    return {
        "news": Subquery(newest.values("kind")[:1]),
        "news_at": Subquery(newest.values("at")[:1]),
        "was_lost_after": Exists(news.filter(kind=LOST, at__gte=end, at__lte=after)),
        "signed_at": Subquery(presence.values("seen_at")[:1]),
        "agent_was_lost": Exists(news.filter(kind=LOST, at__gt=OuterRef("started_at"), at__lt=end)),
    }


def silence_of(run: Any) -> Silence:
    """Say what a run that `evidence` was read with shows of its agent, around the run's end.

    The Event of a silence is written when it has lasted for a minute, and at the next tick: it may
    come after the end of the run. Of silence before the lease began nothing follows.
    """
    if run.finished_at is None or run.agent_id is None:
        return Silence.NONE
    if run.signed_at is None or run.signed_at < run.finished_at - SILENCE:
        return Silence.BEFORE  # never heard again
    if run.news == LOST or (run.news == SEEN and run.news_at > run.finished_at - LAPSE):
        return Silence.BEFORE
    return Silence.AROUND if run.was_lost_after else Silence.NONE


def queue_of(run: JobRun) -> Queue:
    """Describe the queue that a run is in, or was, of what was read with it: no query."""
    assert run.site is not None
    assert run.function is not None
    return catalogue.queue_like(
        run.site,
        run.function,
        version=run.version,
        assignment=run.assignment,
        agent=run.requested_agent,
        pool=run.requested_pool,
    )


def takers_of(run: JobRun, queue: Queue, *, by: Person) -> list[Any]:
    """List the agents that may take a run which nobody took, who was heard last at first.

    One query, at most LOOKED_AT. Each with `is_shown` (this reader may see it), `seen_at` and
    `was_silent` (for more than a minute when the wait ended). Who came later is left out.
    """
    assert run.finished_at is not None
    news = Event.objects.filter(
        subject_id=OuterRef("public_id"), kind__in=[LOST, SEEN], at__lt=run.finished_at
    )
    found: list[Any] = list(
        _shown(catalogue.takers(queue), by)
        .filter(created_at__lt=run.finished_at)
        .annotate(
            seen_at=F("presence__seen_at"), news=Subquery(news.order_by("-pk").values("kind")[:1])
        )
        .order_by(F("seen_at").desc(nulls_last=True), "pk")[:LOOKED_AT]
    )
    for agent in found:
        late = agent.seen_at is None or agent.seen_at < run.finished_at - SILENCE
        agent.was_silent = late or agent.news == LOST
    return found


@dataclass(frozen=True, slots=True)
class Idle:
    """Who is free and does not take a run, and for how long.

    `agent` is the only one, where the reader may see it; `several` says that there are more.
    """

    agent: Agent | None
    several: bool
    lasts: timedelta


def waits_since(run: JobRun) -> datetime:
    """Say since when an agent could have taken a pending run, as far as its own rows tell.

    Since it entered its queue, came back to it, or a pause that held it up was over.
    """
    begun = [run.updated_at]
    if run.in_turn and run.job is not None and run.queue_until is not None:
        # By the site that is in hand: a list asks this of each of its rows.
        wait = run.job.queue_timeout_s or limits.of_site(run.site)[1]
        begun.append(run.queue_until - timedelta(seconds=wait))
    now = timezone.now()
    paused = [one.paused_until for one in (run.site, run.job, run.requested_agent) if one]
    return max([*begun, *(until for until in paused if until is not None and until <= now)])


def is_overdue(run: JobRun) -> bool:
    """Say whether a pending run has waited for longer than a free agent needs."""
    return timezone.now() - waits_since(run) > PATIENCE


def idle(run: JobRun, queue: Queue, *, by: Person) -> Idle | None:
    """Say who is free for a pending run and has not taken it for a minute; None where nobody is.

    Three queries. An agent is free since its last run ended, or since it was heard of again; the
    target, since the last run on it ended. The portal must have been there to be asked.
    """
    since, now = waits_since(run), timezone.now()
    if now - since <= PATIENCE or pulse.is_excused():
        return None
    held = JobRun.objects.executing().filter(agent=OuterRef("pk")).order_by().values("agent")
    regained = Event.objects.filter(subject_id=OuterRef("public_id"), kind=SEEN).order_by("-pk")
    free: list[Any] = list(
        _shown(catalogue.takers(queue), by)
        .with_state()
        .annotate(
            held=Coalesce(Subquery(held.annotate(number=Count("pk")).values("number")), 0),
            regained_at=Subquery(regained.values("at")[:1]),
        )
        .filter(state="active", slots__gt=F("held"))
        .order_by("pk")[:2]
    )
    if not free:
        return None
    began = [since]
    for agent in free:
        known = (agent.enrolled_at, agent.regained_at, agent.paused_until)
        began += [moment for moment in known if moment is not None and moment <= now]
    began.append(_last_end(run, free, after=max(*began, now - LOOKED_BACK)) or since)
    lasts = now - max(began)
    if lasts <= PATIENCE:
        return None
    only = free[0] if len(free) == 1 else None
    named = only if only and (only.is_shown or run.requested_agent_id == only.pk) else None
    return Idle(named, len(free) > 1, lasts)


def _last_end(run: JobRun, agents: list[Any], *, after: datetime) -> datetime | None:
    """Say when the last run of these agents, or on the target, ended; along the index of ends."""
    same = Q(agent__in=[agent.pk for agent in agents])
    if run.target_id:
        same |= Q(target=run.target_id)
    ended = JobRun.objects.annotate(ended=FINISHED).filter(
        same, organization=run.organization_id, ended__gt=after, finished_at__gt=after
    )
    return ended.order_by("-ended", "-pk").values_list("finished_at", flat=True).first()


def _shown(takers: Any, by: Person) -> Any:
    """Give each agent once, with whether this person may see it."""
    seen = agent_policy.rows(by, "view", Agent.objects.filter(pk=OuterRef("pk"))).order_by()
    found = Agent.objects.filter(pk__in=takers.order_by().values("pk"))
    return found.annotate(is_shown=Exists(seen))
