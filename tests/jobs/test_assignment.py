"""Who may be chosen for a job or run, and what is said of a choice that cannot serve."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client

from agents import enrolment
from agents.models import AgentPool, AgentPresence, Function
from jobs.models import Job, JobRun
from sites import places
from sites.access import set_role
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def page(user: User, path: str) -> str:
    client = Client()
    client.force_login(user)
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def pinned(press: Target, backup: Function, edda: User, agent: Enrolled) -> Job:
    return factories.job(press, backup, owner=edda, assignment="agent", agent=agent.agent)


def silence(agent: Enrolled) -> None:
    AgentPresence.objects.filter(agent=agent.agent).update(seen_at=Now() - timedelta(minutes=2))


def test_neither_page_nor_api_lets_a_person_outside_choose_a_restricted_pool(
    works: Organization, hall: Site, press: Target, backup: Function, alice: User, edda: User
) -> None:
    """Two agents, one of them in a restricted pool that Edda was not given."""
    kept = factories.enrolled(works, "kept-agent", site=hall, by=alice)
    vault = AgentPool.objects.create(organization=works, name="Vault", restricted=True)
    vault.agents.add(kept.agent)
    place = {"target": str(press.public_id), "function": str(backup.public_id)}
    form = f"/jobs/manage/add?function={backup.public_id}"
    sent = {
        "name": "n", "target": press.public_id, "run_timeout": "60", "queue_timeout": "60",
    }  # fmt: skip
    client = Client()
    client.force_login(edda)
    refused = {
        "agent": {"agent": str(kept.agent.public_id)},
        "pool": {"pool": str(vault.public_id)},
    }
    for kind, choice in refused.items():
        for path, more in (("runs", {}), ("jobs", {"name": "n"})):
            answer = API(edda).post(path, place | more | choice)
            assert answer.status_code == 422
            assert list(answer.json()["errors"]) == [kind]
        who = f"{kind}:{choice[kind]}"
        assert who not in page(edda, form)
        assert client.post(form, sent | {"who": who}).status_code == 422
    assert not Job.objects.exists()
    assert not JobRun.objects.exists()
    set_role(edda, "editor", on=vault)
    edda = User.objects.get(pk=edda.pk)
    assert f"pool:{vault.public_id}" in page(edda, form)
    for choice in refused.values():
        made = API(edda).post("jobs", place | {"name": f"{choice}"[:60]} | choice)
        assert (made.status_code, made.json()["warnings"]) == (201, [])
    assert client.post(form, sent | {"who": f"pool:{vault.public_id}"}).status_code == 302


def test_a_pin_that_cannot_serve_says_so_before_a_run_is_made_and_while_it_waits(
    press: Target, backup: Function, agent: Enrolled, edda: User
) -> None:
    job = pinned(press, backup, edda, agent)
    api, detail = API(edda), f"/jobs/manage/{job.public_id}"
    assert api.get(f"jobs/{job.public_id}").json()["warnings"] == []
    assert "would wait or fail" not in page(edda, detail)
    tools = [factories.FOLDER | {"functions": factories.FOLDER["functions"][1:]}]
    agent.api.post("hello", {"version": "1", "platform": "", "tools": tools})
    lacks = "hall-agent does not have folder.backup now."
    assert api.get(f"jobs/{job.public_id}").json()["warnings"] == [lacks]
    assert lacks in page(edda, detail)
    form = page(edda, f"{detail}/edit")
    assert "hall-agent, Press hall (does not have folder.backup now)" in form
    assert "no active agent takes automatic runs of folder.backup at Press hall." in form
    assert api.patch(f"jobs/{job.public_id}", {"tags": ["x"]}).json()["warnings"] == [lacks]
    started = api.post(f"jobs/{job.public_id}/run", {})
    assert (started.status_code, started.json()["waiting"]["message"]) == (201, lacks)
    run = started.json()["id"]
    assert api.get(f"runs/{run}").json()["waiting"]["message"] == lacks
    assert lacks in page(edda, f"/jobs/{run}")
    # It learns it again, takes the run, and nothing more is said.
    agent.api.post("hello", {"version": "1", "platform": "", "tools": [factories.FOLDER]})
    assert agent.api.claim()
    told = api.get(f"runs/{run}").json()
    assert (told["waiting"], told["agent"]["name"]) == (None, "hall-agent")
    assert told["requested_agent"]["name"] == "hall-agent"


def test_an_agent_that_is_away_is_told_of(
    works: Organization, hall: Site, press: Target, backup: Function, agent: Enrolled,
    alice: User, edda: User,
) -> None:  # fmt: skip
    job, api = pinned(press, backup, edda, agent), API(edda)
    other = factories.enrolled(works, "other-agent", site=hall, by=alice)
    pool = AgentPool.objects.create(organization=works, name="Presses")
    pool.agents.add(agent.agent, other.agent)
    place = {"target": str(press.public_id), "function": str(backup.public_id)}
    for one in (agent, other):
        enrolment.drain(one.agent, on=True)
    words = "is draining and takes no new runs."
    choices: dict[str, dict[str, Any]] = {
        f"hall-agent {words}": {"agent": str(agent.agent.public_id)},
        f"Each agent of the pool Presses that has folder.backup {words}": {
            "pool": str(pool.public_id)
        },
        f"Each agent of the site that has folder.backup {words}": {},
    }
    for said, choice in choices.items():
        made = api.post("runs", place | choice)
        assert (made.status_code, made.json()["waiting"]["message"]) == (201, said)
        assert said in page(edda, f"/jobs/{made.json()['id']}")
    for one in (agent, other):
        enrolment.drain(one.agent, on=False)
        silence(one)
    told = api.get(f"jobs/{job.public_id}").json()["warnings"]
    assert told == ["hall-agent is disconnected."]
    form = page(edda, f"/jobs/manage/{job.public_id}/edit")
    assert "hall-agent, Press hall (is disconnected)" in form
    assert "Pool Presses (no active agent takes folder.backup for it)" in form
    enrolment.retire(agent.agent, by=alice)
    job.refresh_from_db()
    assert api.get(f"jobs/{job.public_id}").json()["warnings"] == ["hall-agent is retired."]
    assert JobRun.objects.filter(status="pending").count() == 3
    waiting = api.get("runs", status="pending").json()["results"]
    assert sorted(run["waiting"]["code"] for run in waiting) == ["away", "away", "no_agent"]


def test_an_agent_of_all_sites_serves_each_and_can_be_asked_for_at_each(
    works: Organization, hall: Site, yard: Site, alice: User
) -> None:
    rover = factories.enrolled(works, "rover", by=alice)
    backup = Function.objects.get(tool__organization=works, name="backup")
    here, there = (factories.target(site, f"Line {site}") for site in (hall, yard))
    api, requested = API(alice), {"agent": str(rover.agent.public_id)}
    for target, choice in ((here, {}), (there, requested)):
        place = {"target": str(target.public_id), "function": str(backup.public_id)}
        made = api.post("runs", place | choice)
        assert (made.status_code, made.json()["warnings"]) == (201, [])
    held = rover.api.claim(8)
    assert {run["target"]["name"] for run in held} == {"Line Press hall", "Line Yard"}
    runs = api.get("runs").json()["results"]
    assert {run["agent"]["name"] for run in runs} == {"rover"}
    asked_for = {(run["target"]["name"], bool(run["requested_agent"])) for run in runs}
    assert asked_for == {("Line Press hall", False), ("Line Yard", True)}
    # One that serves a site is refused for another, and said to be elsewhere.
    crane = factories.enrolled(works, "crane", site=yard, by=alice)
    place = {"target": str(here.public_id), "function": str(backup.public_id)}
    refused = api.post("runs", place | {"agent": str(crane.agent.public_id)})
    assert refused.json()["errors"] == {"agent": ["Agent “crane” serves another site."]}


def test_a_run_without_its_targets_credentials_says_so(
    works: Organization, press: Target, job: Job, manuel: User, edda: User, alice: User
) -> None:
    places.save_target(press, credential=factories.credential(works, by=alice))
    changed = {"parameters": {"exclude": ["x"]}}
    said = API(manuel).post(f"jobs/{job.public_id}/run", changed).json()["warnings"]
    assert len(said) == 1
    assert said[0].startswith("It gets no credentials: those of Press line 1 are")
    assert API(edda).get(f"jobs/{job.public_id}").json()["warnings"] == []
