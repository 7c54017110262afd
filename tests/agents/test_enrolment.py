"""From a one-time code to an agent, and back to none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from django.test import Client

from agents import enrolment, throttling
from agents.models import Agent, EnrolmentCode, WrongCodes
from jobs.models import JobRun, StatusTransition
from sites import tokens
from sites.models import Event
from tests import factories

pytestmark = pytest.mark.django_db


def enroll(given: str, **body):
    return Client().post(
        "/api/v1/agent/enroll",
        {"code": given, "name": "", "version": "1", "platform": "x", "tools": [factories.FOLDER]}
        | body,
        content_type="application/json",
    )


def test_a_code_makes_an_agent_once(works, hall, alice):
    made, code = enrolment.add_agent(works, name="hall-agent", site=hall, by=alice)
    answer = enroll(code.lower())
    assert answer.status_code == 201
    body = answer.json()
    assert (body["agent"], body["organization"], body["site"]) == (
        str(made.public_id),
        "North Works",
        "Press hall",
    )
    made.refresh_from_db()
    assert made.token_hash == tokens.hashed(body["token"])
    assert body["token"] not in str(made.__dict__)
    again = enroll(code)
    assert (again.status_code, again.json()["code"]) == (403, "enrolment_refused")
    made.refresh_from_db()
    assert made.token_hash == tokens.hashed(body["token"])


@pytest.mark.parametrize("wrong", ["mistyped", "expired", "of a retired agent", "replaced"])
def test_a_code_that_does_not_hold_is_refused_with_the_same_words(works, alice, wrong):
    made, code = enrolment.add_agent(works, name="a", by=alice)
    if wrong == "mistyped":
        code = "AAAA-BBBB-CCCC"
    elif wrong == "expired":
        EnrolmentCode.objects.update(expires_at=F("expires_at") - timedelta(hours=1, seconds=1))
    elif wrong == "of a retired agent":
        enrolment.retire(made, by=alice)
    else:
        enrolment.new_code(made, by=alice)
    answer = enroll(code)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("This enrolment code is not valid")
    assert not Agent.objects.exclude(token_hash="").exists()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"tools": "folder"}, 422),
        ({"tools": [{"name": "../x", "version": "1", "functions": []}]}, 422),
        ({"tools": [factories.FOLDER | {"version": "a b"}]}, 422),
        (
            {
                "tools": [
                    {
                        "name": "t",
                        "version": "1",
                        "functions": [{"name": "f", "parameters": {"type": "nonsense"}}],
                    }
                ]
            },
            422,
        ),
        ({"version": ""}, 422),
        ({"code": ["x"]}, 422),
    ],
)
def test_a_refused_enrolment_leaves_the_code_usable(works, alice, change, status):
    _, code = enrolment.add_agent(works, name="a", by=alice)
    assert enroll(code, **change).status_code == status
    assert not Event.objects.filter(kind="agent.enrolled").exists()
    assert enroll(code).status_code == 201


def test_a_name_that_is_taken_leaves_the_code_usable(works, alice):
    factories.enrolled(works, "hall-agent", by=alice)
    _, code = enrolment.add_agent(works, name="a", by=alice)
    answer = enroll(code, name="hall-agent")
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["name"])
    assert enroll(code, name="yard-agent").status_code == 201


def test_tries_at_once_are_counted_one_by_one(works, alice, monkeypatch):
    """Each request comes in while the one before it is still at its code."""
    _, code = enrolment.add_agent(works, name="a", by=alice)
    really, answers = enrolment.enroll, []

    def slowly(given, **more):
        if len(at_work) < 30:
            at_work.append(given)
            answers.append(enroll("AAAA-BBBB-CCCC").status_code)
        return really(given, **more)

    at_work: list[str] = []
    monkeypatch.setattr(enrolment, "enroll", slowly)
    assert enroll("AAAA-BBBB-CCCC").status_code == 403
    assert (answers.count(403), answers.count(429)) == (19, 1)
    assert enroll(code).status_code == 429
    WrongCodes.objects.update(until=F("until") - timedelta(minutes=1))
    assert enroll(code).status_code == 201


def test_a_right_code_counts_as_no_wrong_one(works, alice, monkeypatch):
    monkeypatch.setattr(throttling, "MOST", 1)
    for number in range(3):
        _, code = enrolment.add_agent(works, name=f"agent {number}", by=alice)
        assert enroll(code, version="").status_code == 422
        assert enroll(code).status_code == 201
    assert enroll("AAAA-BBBB-CCCC").status_code == 403
    assert enroll("AAAA-BBBB-CCCC").status_code == 429


@pytest.mark.once
def test_retiring_ends_the_token_and_what_the_agent_holds(agent, job, alice, edda, press, backup):
    factories.run(job, by=edda)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    enrolment.retire(agent.agent, by=alice)
    run = JobRun.objects.get(public_id=held["id"])
    assert (run.status, run.reason) == ("failed", "credential_revoked")
    last = StatusTransition.objects.filter(run=run).last()
    assert last is not None
    assert (last.to_status, last.user) == ("failed", alice)
    answer = agent.api.post("heartbeat", {"runs": []})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.once
def test_revoking_ends_what_is_claimed_and_leaves_what_waits(agent, job, alice, edda, press):
    factories.run(job, by=edda)
    waiting = factories.target(press.site, "Press line 2")
    other = factories.job(waiting, job.function, owner=edda)
    held = agent.api.claim()[0]
    factories.run(other, by=edda)
    enrolment.retire(agent.agent, by=alice)
    ended = JobRun.objects.get(public_id=held["id"])
    assert (ended.status, ended.reason) == ("failed", "credential_revoked")
    assert JobRun.objects.get(job=other).status == "pending"


@pytest.mark.once
@pytest.mark.parametrize(
    "token",
    ["", "nonsense", "ym_agent_", "ym_user_{id}_{rest}", "of another agent, with this id", "ä"],
)
def test_only_its_own_token_opens_the_agent_api(agent, alice, token):
    good = agent.api.token
    if token == "ym_user_{id}_{rest}":
        token = factories.access_token(alice)
    elif token.startswith("of another"):
        token, _ = tokens.make("agent", agent.agent.public_id)
    agent.api.token = token
    answer = agent.api.post("heartbeat", {"runs": []})
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"
    agent.api.token = good
    assert agent.api.post("heartbeat", {"runs": []}).status_code == 200


@pytest.mark.once
def test_an_agent_token_never_opens_what_is_for_people(agent):
    answer = Client().get("/api/v1/runs", headers={"Authorization": f"Bearer {agent.api.token}"})
    assert answer.status_code == 401


@pytest.mark.once
def test_hello_gives_settings_and_queues(agent, job, edda):
    factories.run(job, by=edda)
    body = {"version": "2.0", "platform": "Linux", "tools": [factories.FOLDER]}
    answer = agent.api.post("hello", body).json()
    assert (answer["heartbeat_s"], answer["lease_s"], answer["slots"]) == (15, 60, 8)
    assert answer["queues"] == [JobRun.objects.get().queue_id]
    agent.agent.refresh_from_db()
    assert agent.agent.version == "2.0"
    nothing = agent.api.post("hello", body | {"tools": []}).json()
    assert nothing["queues"] == []
    assert agent.api.claim() == []
