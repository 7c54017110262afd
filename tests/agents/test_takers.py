"""Which agents take from a queue, and which queues an agent takes from: one answer, asked twice."""

from __future__ import annotations

from typing import Any

import pytest

from agents.catalogue import queue_for, queues_of, takers_of
from agents.enrolment import retire
from agents.models import AgentPool, Function, Queue
from jobs.models import JobRun
from jobs.starts import start_function
from sites.access import set_role
from sites.models import Organization, Site, Target, User
from tests import factories

OTHER = factories.FOLDER | {"version": "2.0"}


@pytest.mark.django_db
def test_takers_of_a_queue_are_the_agents_whose_queue_it_is(
    works: Organization, elsewhere: Organization, hall: Site, yard: Site, alice: User, oscar: User
) -> None:
    agents = {
        "hall": factories.enrolled(works, "hall", site=hall, by=alice).agent,
        "hall 2.0": factories.enrolled(works, "hall 2.0", site=hall, by=alice, tools=[OTHER]).agent,
        "yard": factories.enrolled(works, "yard", site=yard, by=alice).agent,
        "rover": factories.enrolled(works, "rover", by=alice).agent,
        "retired": factories.enrolled(works, "retired", by=alice).agent,
        "abroad": factories.enrolled(elsewhere, "abroad", by=oscar).agent,
    }
    retire(agents["retired"], by=alice)
    pool = AgentPool.objects.create(organization=works, name="fast")
    pool.agents.add(agents["rover"], agents["yard"], agents["hall"])
    backup = Function.objects.get(tool__organization=works, name="backup")
    queues = {
        "any": queue_for(hall, backup),
        "2.0": queue_for(hall, backup, version="2.0"),
        "3.0": queue_for(hall, backup, version="3.0"),
        "rover's": queue_for(hall, backup, assignment="agent", agent=agents["rover"]),
        "yard's": queue_for(hall, backup, assignment="agent", agent=agents["yard"]),
        "pool's": queue_for(hall, backup, assignment="pool", pool=pool),
    }
    names = {agent.pk: name for name, agent in agents.items()}
    takers = takers_of([queue.pk for queue in queues.values()])
    assert {
        title: sorted(names[pk] for pk in takers[queue.pk]) for title, queue in queues.items()
    } == {
        "any": ["hall", "hall 2.0", "rover"],
        "2.0": ["hall 2.0"],
        "3.0": [],
        "rover's": ["rover"],
        "yard's": [],  # a site's agent never runs another site's runs
        "pool's": ["hall", "rover"],
    }
    for name, agent in agents.items():
        if name != "retired":  # it is refused before anyone asks for its queues
            assert set(queues_of(agent)) == {pk for pk, who in takers.items() if agent.pk in who}
    assert takers_of([Queue.objects.latest("pk").pk + 1]) == {
        Queue.objects.latest("pk").pk + 1: set()
    }


@pytest.mark.django_db
def test_an_agent_in_a_restricted_pool_takes_only_what_names_it_or_such_a_pool(
    press: Target, works: Organization, hall: Site, alice: User, edda: User
) -> None:
    kept = factories.enrolled(works, "kept", site=hall, by=alice)
    backup = Function.objects.get(name="list")
    open_pool = AgentPool.objects.create(organization=works, name="fast")
    vault = AgentPool.objects.create(organization=works, name="vault", restricted=True)
    set_role(edda, "editor", on=vault)
    for pool in (open_pool, vault):
        pool.agents.add(kept.agent)
    chosen: dict[str, Any] = {
        "automatic": {},
        "fast": {"assignment": "pool", "pool": open_pool},
        "vault": {"assignment": "pool", "pool": vault},
        "kept": {"assignment": "agent", "agent": kept.agent},
    }
    runs = {}
    for number, (name, choice) in enumerate(chosen.items()):
        target = factories.target(press.site, f"Machine {number}")
        run = start_function(target, backup, by=edda, **choice)
        runs[str(run.public_id)] = name
    queues = {
        run.queue_id: name for run in JobRun.objects.all() for name in [runs[str(run.public_id)]]
    }
    takers = takers_of(queues)
    assert {queues[pk] for pk, who in takers.items() if kept.agent.pk in who} == {"vault", "kept"}
    assert {runs[run["id"]] for run in kept.api.claim(8)} == {"vault", "kept"}
    vault.restricted = False
    vault.save()
    assert {runs[run["id"]] for run in kept.api.claim(8)} == {"automatic", "fast"}
