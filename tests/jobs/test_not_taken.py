"""What is said of a run that an agent could take, is free to, and does not: pages, lists, API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from agents.models import Agent, AgentPresence, Function
from jobs import waiting
from jobs.models import Job, JobRun
from sites.models import Organization, Pulse, Site, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.passing import pause_over, pulse_was
from tests.pages import as_, html, words
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def passed(run: JobRun, **span: float) -> None:
    """Let a run have waited for so long; agents were enrolled before and are heard of all along."""
    ago = timedelta(**span)
    moved = {name: F(name) - ago for name in ("created_at", "updated_at", "queue_until")}
    JobRun.objects.filter(pk=run.pk).update(**moved)
    Agent.objects.update(enrolled_at=Now() - timedelta(days=30))
    Pulse.objects.all().delete()


def says(by: User, run: JobRun) -> str:
    """The sentence under the run's name."""
    page = html(by, f"/jobs/{run.public_id}")
    return words(page[page.index('id="run-says">') :].split(">", 1)[1].split("</span>")[0])


def test_who_is_free_and_does_not_take_it_is_named(job: Job, agent: Enrolled, edda: User) -> None:
    run = factories.run(job, by=edda)
    assert says(edda, run) == "An agent is about to take it."
    passed(run, seconds=40)
    assert says(edda, run) == "An agent is about to take it."
    passed(run, seconds=150)
    told = "hall-agent is free and online but has not taken it for 3 min."
    page = html(edda, f"/jobs/{run.public_id}")
    assert says(edda, run) == f"{told} Look at its log. Open the agent"
    assert f'href="/agents/{agent.agent.public_id}">Open the agent' in page
    detail = API(edda).get(f"runs/{run.public_id}").json()["waiting"]
    assert detail == {"code": "soon", "message": told, "act": "Look at its log.", "behind": None}
    [row] = API(edda).get("runs").json()["results"]
    assert row["waiting"] == detail | {
        "message": "Not taken yet.",
        "act": "Look at the log of the agents that are free.",
    }
    for path in ("/jobs", "/jobs/manage", "/jobs/history"):
        said = words(html(edda, path)).lower()
        assert "not taken yet" in said
        assert "about to be taken" not in said
    passed(run, hours=5)
    assert "has not taken it for more than 1 h." in says(edda, run)


def test_others_are_named_to_who_may_see_them(
    works: Organization, job: Job, agent: Enrolled, alice: User, edda: User, mia: User
) -> None:
    """Domain rules 2 and 8; the one that was asked for is named by the run itself."""
    run = factories.run(job, by=edda)
    JobRun.objects.update(started_by=mia)
    passed(run, minutes=3)
    said = "is free and online but has not taken it for 3 min. Look at its log."
    assert says(mia, run) == f"An agent {said} Open Agents"
    assert "hall-agent" not in html(mia, f"/jobs/{run.public_id}")
    assert "hall-agent" not in str(API(mia).get(f"runs/{run.public_id}").json())
    factories.enrolled(works, "shared-agent", by=alice)
    passed(run, minutes=0)
    assert says(alice, run) == (
        "Several agents are free and online but have not taken it for 3 min. Look at their logs."
        " Open Agents"
    )
    JobRun.objects.all().delete()
    job.assignment, job.agent = "agent", agent.agent
    job.save()
    asked = factories.run(job, by=edda)
    JobRun.objects.update(started_by=mia)
    passed(asked, minutes=3)
    assert says(mia, asked) == f"hall-agent {said}"


def test_it_counts_from_when_the_agent_was_free(
    press: Target, yard: Site, hall: Site, backup: Function, job: Job, agent: Enrolled, edda: User
) -> None:
    """Not from when the run was made: it had a run, was away, or paused until a moment ago."""
    Agent.objects.update(slots=1)
    other = factories.job(factories.target(hall, "Line 2"), backup, owner=edda, name="Other")
    factories.run(other, by=edda)
    [held] = agent.api.claim()
    agent.api.move(held, "running")
    run = factories.run(job, by=edda)
    passed(run, minutes=30)
    assert says(edda, run).startswith("hall-agent has the one run that it takes at a time.")
    agent.api.finish(held, "failed", message="No.")
    assert says(edda, run) == "An agent is about to take it."
    JobRun.objects.exclude(pk=run.pk).update(finished_at=Now() - timedelta(minutes=5))
    assert "has not taken it for 5 min." in says(edda, run)
    job.refresh_from_db()
    pause_over(job, minutes=2)
    assert "has not taken it for 2 min." in says(edda, run)
    pause_over(job)
    assert says(edda, run) == "An agent is about to take it."
    [row] = API(edda).get("runs?status=pending").json()["results"]
    assert row["waiting"]["message"] == "About to be taken."
    pause_over(job, minutes=20)
    AgentPresence.objects.update(lost=True)
    assert agent.api.post("heartbeat", {"runs": []}).status_code == 200
    assert says(edda, run) == "An agent is about to take it."


def test_nobody_is_blamed_while_the_portal_was_away(job: Job, agent: Enrolled, edda: User) -> None:
    run = factories.run(job, by=edda)
    passed(run, minutes=3)
    pulse_was("serving", noted_s=1, resumed_s=20)
    assert says(edda, run) == "An agent is about to take it."
    pulse_was("serving", noted_s=1, resumed_s=600)
    assert "has not taken it for 3 min." in says(edda, run)


def test_nobody_is_blamed_for_a_run_that_was_taken_meanwhile(
    hall: Site, backup: Function, agent: Enrolled, edda: User
) -> None:
    """It was pending when it was read, and is not when its reason is asked for."""
    run = factories.run(factories.job(factories.target(hall, "T"), backup, owner=edda), by=edda)
    passed(run, minutes=5)
    [row] = waiting.told(JobRun.objects.for_rows(), by=edda)
    assert waiting.brief(row) == "not taken yet"
    [row] = list(JobRun.objects.for_rows())
    assert len(agent.api.claim()) == 1
    [row] = waiting.told([row], by=edda)
    assert waiting.brief(row) == "about to be taken"
    for said in (waiting.in_brief(row), waiting.of(row, by=edda)):
        assert said is not None
        assert (said.code, said.act) == ("soon", "")
        assert "not taken" not in said.message


def test_a_list_asks_nothing_more_for_it(
    hall: Site, backup: Function, agent: Enrolled, edda: User, django_assert_num_queries: Any,
    django_assert_max_num_queries: Any,
) -> None:  # fmt: skip
    for number in range(4):
        target = factories.target(hall, f"T{number}")
        run = factories.run(factories.job(target, backup, owner=edda), by=edda)
        JobRun.objects.filter(pk=run.pk).update(in_turn=number % 2 == 0)
        passed(run, minutes=3)
    rows = waiting.told(JobRun.objects.for_rows(), by=edda)
    with django_assert_num_queries(1):
        assert {waiting.brief(row) for row in waiting.told(rows, by=edda)} == {"not taken yet"}
    client = as_(edda)
    with django_assert_max_num_queries(12):
        client.get(f"/jobs/{run.public_id}")
