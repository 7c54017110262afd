"""Runs that wait, each for a cause of its own: how it comes about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone

from agents import enrolment
from agents.models import Agent, AgentPool, AgentPresence, Function
from jobs import definitions, planner, planning
from jobs.models import Job, JobRun, SiteSchedule
from sites import places, sql
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.factories import FOLDER, Enrolled


@dataclass
class Place:
    """What a cause is made of."""

    works: Organization
    hall: Site
    press: Target
    backup: Function
    agent: Enrolled
    alice: User
    edda: User

    def job(self, **fields: Any) -> Job:
        return factories.job(self.press, self.backup, owner=self.alice, **fields)

    def run(self, **fields: Any) -> JobRun:
        return factories.run(self.job(**fields), by=self.alice)

    def run_of_one_agent(self) -> JobRun:
        return self.run(assignment="agent", agent=self.agent.agent)

    def pool(self, name: str, *agents: Agent, restricted: bool = False) -> AgentPool:
        pool = AgentPool.objects.create(organization=self.works, name=name, restricted=restricted)
        pool.agents.add(*agents)
        return pool

    def second(self, **fields: Any) -> Enrolled:
        return factories.enrolled(
            self.works, "second-agent", by=self.alice, **{"site": self.hall} | fields
        )

    def at_work(self, target: Target, name: str) -> JobRun:
        """A run of the same function that the agent has taken."""
        run = factories.run(
            factories.job(target, self.backup, owner=self.alice, name=name), by=self.alice
        )
        [claimed] = self.agent.api.claim()
        assert claimed["id"] == str(run.public_id)
        return run


SOON = timedelta(hours=2)


def pause_site(place: Place) -> JobRun:
    until = timezone.now() + SOON
    places.pause_site(place.hall, until=until, reason="Stocktaking", by=place.alice)
    return place.run()


def pause_job(place: Place) -> JobRun:
    run = place.run()
    assert run.job is not None
    until = timezone.now() + SOON
    definitions.pause(run.job, until=until, reason="New bearings", by=place.alice)
    return run


def wait_for_turn(place: Place) -> JobRun:
    planned = planning.of_site(place.hall)
    planned.schedule_kind, planned.schedule_time, planned.at_once = "daily", time(1), 1
    planning.save_for_site(planned)
    for number in range(2):
        job = factories.job(
            factories.target(place.hall, f"Line {number}"), place.backup, owner=place.alice
        )
        job.schedule_kind, job.site_order = "site", number
        definitions.save(job, by=place.alice)
    SiteSchedule.objects.update(next_run_at=sql.clock() - timedelta(seconds=1))
    assert planner.plan() == 2
    return JobRun.objects.get(next_queue__isnull=False)


def no_agent(place: Place) -> JobRun:
    run = place.run()
    Agent.objects.filter(pk=place.agent.agent.pk).update(site=None)
    enrolment.retire(place.agent.agent, by=place.alice)
    return run


def empty_pool(place: Place) -> JobRun:
    return place.run(assignment="pool", pool=place.pool("Presses"))


def retired(place: Place) -> JobRun:
    run = place.run_of_one_agent()
    enrolment.retire(place.agent.agent, by=place.alice)
    return run


def unlearned(place: Place) -> JobRun:
    run = place.run()
    place.agent.api.post("hello", {"version": "1", "platform": "", "tools": []})
    return run


def other_version(place: Place) -> JobRun:
    run = place.run(version="1.0")
    tools = [FOLDER | {"version": "2.0"}]
    place.agent.api.post("hello", {"version": "1", "platform": "", "tools": tools})
    return run


def restricted(place: Place) -> JobRun:
    run = place.run()
    place.pool("Vault", place.agent.agent, restricted=True)
    return run


def silent(place: Place) -> JobRun:
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
    return place.run()


def silent_one(place: Place) -> JobRun:
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
    return place.run_of_one_agent()


def silent_two(place: Place) -> JobRun:
    place.second()
    return silent(place)


def never_seen(place: Place) -> JobRun:
    AgentPresence.objects.all().delete()
    return place.run_of_one_agent()


def draining(place: Place) -> JobRun:
    enrolment.drain(place.agent.agent, on=True)
    return place.run_of_one_agent()


def paused_agent(place: Place) -> JobRun:
    until = timezone.now() + SOON
    enrolment.pause(place.agent.agent, until=until, reason="Confidential", by=place.alice)
    return place.run()


def behind(place: Place) -> JobRun:
    place.at_work(place.press, "First")
    return place.run()


def full(place: Place) -> JobRun:
    Agent.objects.update(slots=1)
    place.at_work(factories.target(place.hall, "Line 2"), "First")
    return place.run()


def full_two(place: Place) -> JobRun:
    other = place.second(slots=1)
    full(place)
    factories.run(
        factories.job(factories.target(place.hall, "Line 3"), place.backup, owner=place.alice),
        by=place.alice,
    )
    assert other.api.claim()
    return JobRun.objects.pending().get()


def full_one(place: Place) -> JobRun:
    Agent.objects.update(slots=1)
    place.at_work(factories.target(place.hall, "Line 2"), "First")
    return place.run_of_one_agent()


def full_pool(place: Place) -> JobRun:
    pool = place.pool("Presses", place.agent.agent)
    Agent.objects.update(slots=1)
    place.at_work(factories.target(place.hall, "Line 2"), "First")
    return place.run(assignment="pool", pool=pool)


def beside(place: Place) -> JobRun:
    """Jobs that allow overlap do not wait for each other."""
    place.at_work(place.press, "First")
    return place.run(overlap="allow")


def free(place: Place) -> JobRun:
    return place.run()


def free_one(place: Place) -> JobRun:
    return place.run_of_one_agent()


def foreign(place: Place) -> JobRun:
    run = place.run()
    JobRun.objects.filter(pk=run.pk).update(origin="synced", queue=None)
    return run
