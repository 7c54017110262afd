"""The portal's pages of agents: who sees them, and how one is added."""

from __future__ import annotations

import re
import uuid

import pytest
from django.test import Client

from agents.models import Agent
from jobs.models import Job
from sites.models import Site, User
from tests import factories
from tests.factories import FOLDER, Enrolled
from tests.pages import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def test_adding_an_agent_shows_one_line_once_that_enrols_it(alice: User, hall: Site) -> None:
    client = as_(alice)
    answer = client.post(
        "/agents/add", {"name": "hall-02", "site": str(hall.public_id), "slots": "2"}
    )
    agent = Agent.objects.get()
    assert answer.headers["Location"] == f"/agents/{agent.public_id}?setup=1"
    page = client.get(answer.headers["Location"]).content.decode()
    code = re.search(r"yardmaster agent enroll \S+/a/([0-9A-Z-]+)", page)
    assert code
    assert "Waiting for the first contact" in page
    assert "Setting Up" in page
    again = client.get(answer.headers["Location"]).content.decode()
    assert code[1] not in again
    assert "The line was shown once" in again

    enrolled = Client().post(
        "/api/v1/agent/enroll",
        {"code": code[1], "name": "", "version": "1.0", "platform": "Linux", "tools": [FOLDER]},
        content_type="application/json",
    )
    assert enrolled.status_code == 201
    after = client.get(answer.headers["Location"]).content.decode()
    assert "hall-02 is active." in after
    assert "1 tool: folder" in after
    assert enrolled.json()["token"] not in after


def test_a_live_refetch_does_not_use_the_line_up(alice: User, hall: Site) -> None:
    client = as_(alice)
    there = client.post("/agents/add", {"name": "hall-02", "slots": "2"}).headers["Location"]
    live = client.get(there, headers={"HX-Request": "true", "X-Live": "1"}).content.decode()
    assert "agent enroll" not in live
    assert "agent enroll" in client.get(there).content.decode()


def test_an_agent_of_the_same_name_is_refused_at_the_field(alice: User, agent: Enrolled) -> None:
    answer = as_(alice).post("/agents/add", {"name": agent.agent.name, "slots": "2"})
    assert answer.status_code == 422
    assert Agent.objects.count() == 1
    assert "exists already" in answer.content.decode()


def test_who_may_not_manage_agents_gets_no_button_and_no_page(
    agent: Enrolled, vera: User, edda: User, manuel: User, mia: User, oscar: User
) -> None:
    path = f"/agents/{agent.agent.public_id}"
    for user in (vera, edda, manuel):
        page = as_(user).get("/agents").content.decode()
        assert agent.agent.name in page
        assert "Add an agent" not in page
        assert as_(user).get("/agents/add").status_code == 403
        assert as_(user).get(path).status_code == 200
        for act in ("code", "drain", "retire"):
            assert as_(user).post(f"{path}/{act}").status_code == 403
        assert as_(user).get(f"{path}/retire").status_code == 403
        assert "Retire" not in page + as_(user).get(path).content.decode()
    for user in (mia, oscar):
        assert agent.agent.name not in as_(user).get("/agents").content.decode()
        assert as_(user).get(path).status_code == 404
        for act in ("code", "drain", "retire"):
            assert as_(user).post(f"{path}/{act}").status_code == 404


def test_a_drained_agent_says_so_and_takes_runs_again(agent: Enrolled, alice: User) -> None:
    client, path = as_(alice), f"/agents/{agent.agent.public_id}/drain"
    client.post(path, {"drain": "1"})
    assert "Draining" in client.get("/agents").content.decode()
    client.post(path, {"drain": "0"})
    assert "Draining" not in client.get("/agents").content.decode()


def test_retiring_takes_the_typed_name_and_ends_the_agent_with_its_runs(
    agent: Enrolled, job: Job, alice: User, edda: User
) -> None:
    run = factories.run(job, by=edda)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    client, path = as_(alice), f"/agents/{agent.agent.public_id}/retire"
    asked = client.get(path).content.decode()
    assert "1 run that it holds now, which ends as Failed" in asked
    assert client.post(path, {"name": "another"}).status_code == 422
    run.refresh_from_db()
    assert run.status == "running"
    assert client.post(path, {"name": agent.agent.name}).headers["Location"] == "/agents"
    run.refresh_from_db()
    assert (run.status, run.reason) == ("failed", "credential_revoked")
    assert agent.api.post("claims", {"claim_id": str(uuid.uuid4()), "max": 1}).status_code == 401
    after = client.get("/agents").content.decode()
    assert "is retired." in after
    assert agent.agent.name not in client.get("/agents").content.decode()
    assert client.get(path).status_code == 404
