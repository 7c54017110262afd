"""Which queues an agent takes from is read at every claim: how, whatever others there are."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from agents import catalogue
from agents.models import Agent, Assignment, Function, Queue
from sites.models import Organization, Site, User
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.postgres
def test_an_agents_queues_are_found_along_indexes(
    works: Organization, hall: Site, alice: User
) -> None:
    """Each of 1,000 agents has a queue of its own; one that asks for its queues reads none of
    the others'. With the conditions OR-ed each claim read them all: 5 ms at 5,000."""
    one = factories.enrolled(works, "one", by=alice, site=hall)
    [function, *_] = Function.objects.all()
    catalogue.queue_for(hall, function)
    own = catalogue.queue_for(hall, function, assignment=Assignment.AGENT, agent=one.agent)
    many = Agent.objects.bulk_create(
        Agent(organization=works, site=hall, name=f"agent {n}") for n in range(1_000)
    )
    Queue.objects.bulk_create(
        Queue(
            key=f"{n}",
            organization=works,
            site=hall,
            function=function,
            assignment="agent",
            agent=agent,
        )
        for n, agent in enumerate(many)
    )
    assert own.pk in catalogue.queues_of(one.agent)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE agents_queue")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {catalogue._QUEUES}", [one.agent.pk])
        [found] = cursor.fetchone()
    plans = [(json.loads(found) if isinstance(found, str) else found)[0]["Plan"]]
    read = 0
    while plans:
        node = plans.pop()
        plans += node.get("Plans", [])
        if node.get("Relation Name") == "agents_queue":
            read += node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    assert read == 2
