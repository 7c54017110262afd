"""An agent changes its token without a gap: at every moment one that it has on disk works."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from agents import enrolment
from jobs.models import Job
from sites.models import User
from tests import factories
from tests.factories import AgentAPI, Enrolled
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def beat(token: str) -> Any:
    return AgentAPI(token).post("heartbeat", {"runs": []})


def new_token(token: str) -> str:
    answer = AgentAPI(token).post("token")
    assert answer.status_code == 201
    return str(answer.json()["token"])


def test_the_old_token_ends_when_the_new_one_is_used(agent: Enrolled, alice: User) -> None:
    old = agent.api.token
    assert beat(old).json()["rotate"] is False
    told = API(alice).post(f"agents/{agent.agent.public_id}/rotate")
    assert (told.status_code, told.json()["rotating"]) == (200, True)
    hello = {"version": "1", "platform": "", "tools": [factories.FOLDER]}
    assert agent.api.post("hello", hello).json()["rotate"] is True
    assert beat(old).json()["rotate"] is True
    new = new_token(old)
    # As long as it likes, and after a crash that lost the new one.
    assert [beat(old).status_code for _ in range(3)] == [200, 200, 200]
    first = beat(new)
    assert (first.status_code, first.json()["rotate"]) == (200, False)
    assert beat(old).status_code == 401
    assert beat(new).status_code == 200
    assert API(alice).get(f"agents/{agent.agent.public_id}").json()["rotating"] is False
    agent.agent.refresh_from_db()
    # Neither is stored, or both could be read there.
    kept = f"{agent.agent.token_hash} {agent.agent.next_token_hash}"
    assert old not in kept
    assert new not in kept


def test_a_lost_answer_is_asked_for_again(agent: Enrolled) -> None:
    """Without being asked to, too: an agent may change its token at any time."""
    lost, new = (new_token(agent.api.token) for _ in range(2))
    assert beat(lost).status_code == 401
    assert beat(agent.api.token).status_code == 200
    assert beat(new).status_code == 200
    newest = new_token(new)
    assert beat(newest).status_code == 200
    assert [beat(token).status_code for token in (agent.api.token, lost, new)] == [401] * 3


def test_of_two_requests_with_the_new_token_both_are_let_in(agent: Enrolled) -> None:
    """Both have read the agent before either ended the old token."""
    new = new_token(agent.api.token)
    agent.agent.refresh_from_db()
    assert enrolment.promote_token(type(agent.agent).objects.get(pk=agent.agent.pk))
    assert enrolment.promote_token(agent.agent)
    assert beat(new).status_code == 200


def test_retiring_and_enrolling_anew_end_both_tokens(agent: Enrolled, alice: User) -> None:
    new = new_token(agent.api.token)
    code = enrolment.new_code(agent.agent, by=alice)
    body = {"code": code, "name": "", "version": "1", "platform": "", "tools": []}
    third = AgentAPI("").post("enroll", body).json()["token"]
    assert [beat(token).status_code for token in (agent.api.token, new)] == [401, 401]
    fourth = new_token(third)
    enrolment.retire(agent.agent, by=alice)
    assert [beat(token).status_code for token in (third, fourth)] == [401, 401]
    refused = API(alice).post(f"agents/{agent.agent.public_id}/rotate")
    assert (refused.status_code, refused.json()["code"]) == (409, "retired")


def test_an_administrator_asks_for_it_on_the_page_and_in_the_admin(
    agent: Enrolled, alice: User
) -> None:
    client, page = Client(), f"/agents/{agent.agent.public_id}"
    client.force_login(alice)
    assert "Change token" in client.get(page).content.decode()
    answer = client.post(f"{page}/rotate", follow=True)
    assert "changes its token at its next sign of life" in answer.content.decode()
    assert "Token is changing" in client.get(page).content.decode()
    assert beat(new_token(agent.api.token)).status_code == 200
    assert "Change token" in client.get(page).content.decode()
    admin = reverse("admin:agents_agent_rotate", args=[agent.agent.pk])
    assert "Change token" in client.get(admin).content.decode()
    assert client.post(admin).status_code == 302
    agent.agent.refresh_from_db()
    assert agent.agent.rotating


def test_a_run_goes_on_under_the_new_token(agent: Enrolled, job: Job, edda: User) -> None:
    factories.run(job, by=edda)
    [held] = agent.api.claim()
    assert agent.api.move(held, "running").status_code == 200
    api = AgentAPI(new_token(agent.api.token))
    assert api.move(held, "validating").status_code == 200
    assert agent.api.move(held, "uploading").status_code == 401
    assert api.finish(held, "failed").status_code == 200
