"""When agents were last heard of, and the Events of losing and regaining one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from sites import events, pulse
from sites.models import Event

from .models import Agent, AgentPresence
from .querysets import SILENCE

LOST, SEEN = "agent.lost", "agent.seen"
DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours of an agent: when they began, since when it is known, and its gaps."""

    since: datetime
    begun: datetime
    gaps: list[tuple[datetime, datetime]]


def seen(agent: Agent) -> None:
    """Note a sign of life; regaining a lost agent is an Event.

    One UPDATE in the common case, of a narrow row that no index covers.
    """
    if AgentPresence.objects.filter(agent=agent, lost=False).update(seen_at=Now()):
        return
    with transaction.atomic():
        if AgentPresence.objects.filter(agent=agent, lost=True).update(seen_at=Now(), lost=False):
            announce(SEEN, agent)
        else:
            AgentPresence.objects.bulk_create(
                [AgentPresence(agent=agent, seen_at=Now())],
                update_conflicts=True,
                unique_fields=["agent"],
                update_fields=["seen_at"],
            )


def mark_lost() -> int:
    """Write one Event for each agent that has fallen silent; gives how many.

    None while the portal is away or has just come back: nobody heard them (rule 30).
    """
    if pulse.is_excused():
        return 0
    silent = AgentPresence.objects.filter(
        lost=False, seen_at__lt=Now() - SILENCE, agent__retired_at=None
    ).select_related("agent__organization", "agent__site")
    lost = 0
    for presence in silent[:500]:
        with transaction.atomic():
            # Asked again in the update: a beat may have come in between.
            if AgentPresence.objects.filter(
                pk=presence.pk, lost=False, seen_at__lt=Now() - SILENCE
            ).update(lost=True):
                announce(LOST, presence.agent)
                lost += 1
    return lost


def last_day(agents: Iterable[Agent]) -> dict[int, Day]:
    """Say when each of these agents was silent in the last 24 hours, read from its Events.

    One query. A gap begins with the last sign of life: its Event is written SILENCE later. Agents
    must come with their presence; those that were never heard of are left out.
    """
    now = timezone.now()
    since = now - DAY
    known = {one.public_id: one for one in agents if hasattr(one, "presence")}
    marks: dict[UUID, list[tuple[str, datetime]]] = {key: [] for key in known}
    told = Event.objects.filter(subject_id__in=known, kind__in=(LOST, SEEN), at__gte=since)
    for key, kind, at in told.order_by("id").values_list("subject_id", "kind", "at"):
        marks[key].append((kind, at))
    found = {}
    for key, agent in known.items():
        begun = max(since, agent.enrolled_at or agent.created_at)
        silent_from = begun if _begins_silent(agent, marks[key]) else None
        gaps = []
        for kind, at in marks[key]:
            if kind == LOST:
                silent_from = max(begun, at - SILENCE)
            elif silent_from is not None:
                gaps.append((silent_from, at))
                silent_from = None
        if silent_from is not None:
            gaps.append((silent_from, now))
        found[agent.pk] = Day(since, begun, gaps)
    return found


def _begins_silent(agent: Agent, marks: list[tuple[str, datetime]]) -> bool:
    return marks[0][0] == SEEN if marks else agent.presence.lost


def announce(kind: str, agent: Agent) -> None:
    """Write an Event about an agent, in the caller's transaction."""
    events.record(
        kind,
        agent.public_id,
        organization=agent.organization,
        site=agent.site,
        data={"name": agent.name},
    )
