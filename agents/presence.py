"""When agents were last heard of, and the Events of losing and regaining one."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from sites import events

from .models import Agent, AgentPresence
from .querysets import SILENCE


def seen(agent: Agent) -> None:
    """Note a sign of life; regaining a lost agent is an Event.

    One UPDATE in the common case, of a narrow row that no index covers.
    """
    if AgentPresence.objects.filter(agent=agent, lost=False).update(seen_at=Now()):
        return
    with transaction.atomic():
        if AgentPresence.objects.filter(agent=agent, lost=True).update(seen_at=Now(), lost=False):
            announce("agent.seen", agent)
        else:
            AgentPresence.objects.bulk_create(
                [AgentPresence(agent=agent, seen_at=Now())],
                update_conflicts=True,
                unique_fields=["agent"],
                update_fields=["seen_at"],
            )


def mark_lost() -> int:
    """Write one Event for each agent that has fallen silent; gives how many."""
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
                announce("agent.lost", presence.agent)
                lost += 1
    return lost


def announce(kind: str, agent: Agent) -> None:
    """Write an Event about an agent, in the caller's transaction."""
    events.record(
        kind,
        agent.public_id,
        organization=agent.organization,
        site=agent.site,
        data={"name": agent.name},
    )
