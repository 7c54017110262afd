"""Idempotency-Key: one effect however often the same is asked, and at once (rule 24)."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from jobs.models import JobRun, StatusTransition
from sites.models import Event, IdempotencyKey
from tests import factories
from tests.backups import back_up
from tests.people import API
from tests.waiting import PATIENCE_S
from tests.web import at_once, portal


def keyed(api: API, path: str, body: Any, key: str) -> Any:
    return api.post(path, body, Idempotency_Key=key)


@pytest.fixture
def overlapping(press, backup, edda):
    """A job of which each start without a key is another run."""
    return factories.job(press, backup, owner=edda, overlap="allow")


def test_the_same_again_gives_the_same_answer(overlapping, edda):
    api, path = API(edda), f"jobs/{overlapping.public_id}/run"
    first, second = (keyed(api, path, {"parameters": {"exclude": []}}, "k") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert JobRun.objects.count() == 1


def test_another_request_under_the_same_key_is_refused(overlapping, press, backup, edda, alice):
    api, path = API(edda), f"jobs/{overlapping.public_id}/run"
    assert keyed(api, path, {}, "k").status_code == 201
    body = {"target": str(press.public_id), "function": str(backup.public_id)}
    for other_path, other in ((path, {"parameters": {"exclude": ["x"]}}), ("runs", body)):
        refused = keyed(api, other_path, other, "k")
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_conflict")
    assert JobRun.objects.count() == 1
    # A key is the person's own, and another key is another run.
    assert keyed(API(alice), path, {}, "k").status_code == 201
    assert keyed(api, path, {}, "k2").status_code == 201
    assert JobRun.objects.count() == 3


def test_what_was_refused_may_be_sent_again(overlapping, agent, edda):
    run = factories.run(overlapping, by=edda)
    api, path = API(edda), f"runs/{run.public_id}/retry"
    assert keyed(api, path, None, "k").status_code == 409
    back_up(agent.api, {"a": b"1"})
    assert keyed(api, path, None, "k").status_code == 201
    assert keyed(api, path, None, "k")["Idempotency-Replayed"] == "true"
    assert JobRun.objects.filter(retry_of=run).count() == 1


def test_a_key_ends_after_two_days(overlapping, edda):
    api, path = API(edda), f"jobs/{overlapping.public_id}/run"
    first = keyed(api, path, {}, "k")
    IdempotencyKey.objects.update(created_at=Now() - timedelta(hours=49))
    again = keyed(api, path, {}, "k")
    assert again.status_code == 201
    assert again.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "ü"])
def test_a_key_that_is_none(overlapping, edda, key):
    refused = keyed(API(edda), f"jobs/{overlapping.public_id}/run", {}, key)
    assert refused.status_code == 422
    assert list(refused.json()["errors"]) == ["Idempotency-Key"]
    assert JobRun.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_five_at_once_have_one_effect(overlapping, press, backup, agent, edda, tmp_path):
    """Start, retry and an ad hoc run, each five times in parallel through a real portal."""
    ended = factories.run(overlapping, by=edda)
    back_up(agent.api, {"a": b"1"})
    token = factories.access_token(edda)
    requests = {
        "start": (f"jobs/{overlapping.public_id}/run", {}),
        "retry": (f"runs/{ended.public_id}/retry", {}),
        "ad-hoc": (
            "runs",
            {"target": str(press.public_id), "function": str(backup.public_id)},
        ),
    }
    with portal(tmp_path / "log") as port:
        for number, (key, (path, body)) in enumerate(requests.items(), start=1):
            answers = at_once([lambda: ask(port, token, path, body, key)] * 5)  # noqa: B023
            assert [status for status, _, _ in answers] == [201] * 5
            # As JSON: PostgreSQL gives a kept document its own order of names.
            assert all(told == answers[0][2] for _, _, told in answers)
            assert sorted(replayed for _, replayed, _ in answers) == [False] + [True] * 4
            assert JobRun.objects.exclude(pk=ended.pk).count() == number
    pending = {"to_status": "pending"}
    assert StatusTransition.objects.filter(**pending).exclude(run=ended).count() == 3
    made = Event.objects.filter(kind="run.pending").exclude(subject_id=ended.public_id)
    assert made.count() == 3


def ask(port: int, token: str, path: str, body: Any, key: str) -> tuple[int, bool, Any]:
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    }
    portal_at = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with closing(portal_at) as connection:
        connection.request("POST", f"/api/v1/{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        replayed = answer.getheader("Idempotency-Replayed") == "true"
        return answer.status, replayed, json.loads(answer.read())
