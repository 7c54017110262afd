"""The last 24 hours of an agent, as its Events tell them and as the list of agents draws them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents import presence
from agents.models import Agent, AgentPresence
from agents.querysets import SILENCE
from sites.models import Event, Site, User
from tests import factories
from tests.factories import Enrolled
from tests.pages import html

pytestmark = pytest.mark.django_db
MINUTES = timedelta(minutes=1)


@pytest.fixture
def old(agent: Enrolled) -> Agent:
    """An agent that enrolled days ago."""
    now = timezone.now()
    Agent.objects.filter(pk=agent.agent.pk).update(enrolled_at=now - timedelta(days=3))
    return agent.agent


def falls_silent(agent: Agent, before: timedelta) -> None:
    """Its loss is noticed by the real sweep, so long before now."""
    AgentPresence.objects.filter(agent=agent).update(
        seen_at=timezone.now() - SILENCE - timedelta(seconds=5)
    )
    assert presence.mark_lost() == 1
    moved(before)


def is_back(agent: Agent, before: timedelta) -> None:
    presence.seen(agent)
    moved(before)


def moved(before: timedelta) -> None:
    newest = Event.objects.order_by("-id")[0]
    Event.objects.filter(pk=newest.pk).update(at=timezone.now() - before)


def day_of(agent: Agent) -> tuple[float, list[tuple[float, float]]]:
    """Since when it is known and its gaps, in minutes before now."""
    row = Agent.objects.select_related("presence").get(pk=agent.pk)
    now, day = timezone.now(), presence.last_day([row])[row.pk]
    gaps = [((now - begun) / MINUTES, (now - ended) / MINUTES) for begun, ended in day.gaps]
    return (now - day.begun) / MINUTES, [(round(a, 1), round(b, 1)) for a, b in gaps]


def test_an_agent_that_was_always_heard_of_has_no_gap(old: Agent) -> None:
    begun, gaps = day_of(old)
    assert (round(begun), gaps) == (24 * 60, [])


def test_a_gap_begins_with_the_last_sign_not_with_its_notice(old: Agent) -> None:
    falls_silent(old, 300 * MINUTES)
    is_back(old, 200 * MINUTES)
    falls_silent(old, 20 * MINUTES)
    assert day_of(old)[1] == [(301, 200), (21, 0)]


def test_what_began_before_the_day_counts_from_its_beginning(old: Agent) -> None:
    falls_silent(old, timedelta(hours=30))
    assert day_of(old)[1] == [(24 * 60, 0)]
    is_back(old, 60 * MINUTES)
    assert day_of(old)[1] == [(24 * 60, 60)]


def test_what_was_before_the_enrolment_is_not_known(agent: Enrolled) -> None:
    Agent.objects.update(enrolled_at=timezone.now() - 90 * MINUTES)
    falls_silent(agent.agent, 30 * MINUTES)
    begun, gaps = day_of(agent.agent)
    assert (round(begun), gaps) == (90, [(31, 0)])


@pytest.mark.once
def test_the_list_draws_it(old: Agent, hall: Site, alice: User, works) -> None:
    falls_silent(old, 300 * MINUTES)
    is_back(old, 200 * MINUTES)
    factories.enrolled(works, "gate-agent", site=hall, by=alice)
    page = html(alice, "/agents")
    assert 'aria-label="1 gap in 24 hours, 101 min in all"' in page
    assert 'aria-label="no gap in 24 hours"' in page
    assert page.count('class="gap"') == 1
