"""What the API does with bad input: never a 5xx, always a problem, nothing half-written."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest

from agents.models import Function
from jobs.models import Job, JobRun
from sites.models import AccessToken, Event, Site, Target
from tests import factories
from tests.people import API, logged_in
from tests.tables import counts

MALFORMED: dict[str, bytes] = {
    "truncated": b'{"name": "x"',
    "no JSON": b"name=x",
    "NaN": b'{"name": NaN}',
    "infinite": b'{"slots": -Infinity}',
    "a key twice": b'{"name": "a", "name": "b"}',
    "NUL": b'{"name": "a\\u0000b"}',
    "half a surrogate": b'{"name": "\\ud800"}',
    "not UTF-8": b'{"name": "\xff"}',
    "deep": b'{"settings":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a number past 64 bits": b'{"slots": 99999999999999999999999}',
    "too many digits": b'{"slots": ' + b"9" * 5000 + b"}",
    "a float past all bounds": b'{"settings": {"x": 1e999}}',
}


TABLES = (Site, Target, Job, JobRun, Event, AccessToken)


@pytest.fixture
def api(alice) -> API:
    # The tokens are managed from a log-in alone.
    return logged_in(alice)


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", ["sites", "targets", "jobs", "runs", "agents", "tokens"])
def test_a_malformed_body_is_refused_whole(works, api, path, body):
    before = counts(TABLES)
    answer = api.request("POST", path, body)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "malformed"
    assert counts(TABLES) == before


def test_a_huge_body_and_one_of_another_type(works, api):
    large = b'{"name": "' + b"x" * (5 * 1024 * 1024) + b'"}'
    assert api.request("POST", "sites", large).status_code == 413
    assert api.request("POST", "sites", b"<a/>", kind="text/xml").status_code == 415
    assert api.request("PUT", f"uploads/{uuid.uuid4()}?offset=0", b"{}").status_code == 415
    too_much = api.upload(uuid.uuid4(), 0, b"x" * (8 * 1024 * 1024 + 1))
    assert (too_much.status_code, too_much.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("body", [[], "text", 7, None])
def test_a_body_that_is_no_object(works, api, body):
    answer = api.request("POST", "sites", str(body).replace("None", "null").encode())
    assert answer.status_code in (400, 422)


NOT_TAKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "status of a run": ("POST", "runs", {"status": "completed"}),
    "starter of a run": ("POST", "runs", {"started_by": "alice"}),
    "result of a run": ("POST", "runs", {"result": "success"}),
    "organization of a run": ("POST", "runs", {"organization": "{works}"}),
    "organization of a job": ("POST", "jobs", {"organization": "{works}"}),
    "owner of a job": ("PATCH", "jobs/{job}", {"owner": "alice"}),
    "target of a job": ("PATCH", "jobs/{job}", {"target": "{press}"}),
    "site of a target": ("PATCH", "targets/{press}", {"site": "{hall}"}),
    "accepted snapshot": ("PATCH", "targets/{press}", {"accepted_snapshot": None}),
    "zone of a site": ("PATCH", "sites/{hall}", {"time_zone": "UTC"}),
    "token of an agent": ("POST", "agents", {"token_hash": "x"}),
    "state of an agent": ("PATCH", "agents/{agent}", {"state": "active"}),
    "user of a token": ("POST", "tokens", {"user": "alice"}),
    "parameters of a start": ("POST", "jobs/{job}/run", {"status": "completed"}),
}


@pytest.mark.parametrize(("method", "path", "extra"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_a_client_must_not_set(works, hall, press, job, agent, api, method, path, extra):
    ids = {
        "works": works.public_id,
        "hall": hall.public_id,
        "press": press.public_id,
        "job": job.public_id,
        "agent": agent.agent.public_id,
    }
    good = {
        "runs": {"target": str(press.public_id), "function": str(job.function.public_id)},
        "jobs": {
            "target": str(press.public_id),
            "function": str(job.function.public_id),
            "name": "n",
        },
        "agents": {"name": "n"},
        "tokens": {"name": "n"},
    }
    before = counts(TABLES)
    (name,) = extra
    answer = api.request(method, path.format(**ids), good.get(path, {}) | extra)
    assert answer.status_code == 422, answer.content
    assert list(answer.json()["errors"]) == [name]
    assert counts(TABLES) == before


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "zone nonsense": ("sites", {"name": "n", "time_zone": "../../etc/passwd"}, "time_zone"),
    "zone by offset": ("sites", {"name": "n", "time_zone": "+01:00"}, "time_zone"),
    "zone of the machine": ("sites", {"name": "n", "time_zone": "localtime"}, "time_zone"),
    "zone of nowhere": ("sites", {"name": "n", "time_zone": "Factory"}, "time_zone"),
    "empty name": ("sites", {"name": "  "}, "name"),
    "long name": ("sites", {"name": "x" * 121}, "name"),
    "a number for a name": ("sites", {"name": 7}, "name"),
    "slots of nobody": ("agents", {"name": "n", "slots": 0}, "slots"),
    "true for a number": ("agents", {"name": "n", "slots": True}, "slots"),
    "past": ("tokens", {"name": "n", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    "no date": ("tokens", {"name": "n", "expires_at": "0001-01-01T00:00:00+23:59"}, "expires_at"),
    "no id": ("targets", {"name": "n", "site": "1 OR 1=1"}, "site"),
    "an id as a number": ("targets", {"name": "n", "site": 1}, "site"),
}


@pytest.mark.parametrize(("path", "body", "field"), WRONG.values(), ids=WRONG)
def test_a_field_that_is_not_valid_is_named(works, api, path, body, field):
    before = counts(TABLES)
    answer = api.post(path, body)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [field]
    assert counts(TABLES) == before


def test_foreign_ids_read_like_missing_ones(works, press, job, elsewhere, oscar, alice):
    """In bodies and in filters alike."""
    dock = factories.site(elsewhere, "Dock")
    crane = factories.target(dock, "Crane")
    foreign = factories.enrolled(elsewhere, "dock-agent", site=dock, by=oscar)
    theirs = Function.objects.get(organization=elsewhere, name="backup")
    api, missing = API(alice), "00000000-0000-4000-8000-000000000000"
    function, target = str(job.function.public_id), str(press.public_id)
    bodies: list[tuple[str, dict[str, str], str, Any]] = [
        ("targets", {"name": "n"}, "site", dock),
        ("jobs", {"name": "n", "function": function}, "target", crane),
        ("jobs", {"name": "n", "target": target}, "function", theirs),
        ("jobs", {"name": "n", "target": target, "function": function}, "agent", foreign.agent),
        ("runs", {"target": target}, "function", theirs),
        ("agents", {"name": "n"}, "site", dock),
    ]
    before = counts(TABLES)
    for path, body, field, other in bodies:
        answers = [
            api.post(path, body | {field: one}).json() for one in (str(other.public_id), missing)
        ]
        assert answers[0] == answers[1]
        assert list(answers[0]["errors"]) == [field]
    filters: list[tuple[str, str, Any]] = [
        ("runs", "site", dock),
        ("runs", "target", crane),
        ("jobs", "function", theirs),
        ("agents", "site", dock),
        ("targets", "organization", elsewhere),
    ]
    for path, name, other in filters:
        answers = [api.get(path, **{name: one}).json() for one in (str(other.public_id), missing)]
        assert answers[0] == answers[1]
        assert list(answers[0]["errors"]) == [name]
    assert counts(TABLES) == before


LISTS = ["organizations", "sites", "targets", "functions", "agents", "pools", "jobs", "runs"]


@pytest.mark.parametrize("path", LISTS)
def test_a_parameter_that_a_list_does_not_offer_is_named(works, api, path):
    for name in ("colour", "site__name", "ORDERING", "limit"):
        answer = api.get(path, **{name: "x"})
        assert answer.status_code == 422
        assert list(answer.json()["errors"]) == [name]


@pytest.mark.parametrize("path", [*LISTS, "tokens"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ordering", "password"),
        ("ordering", "created,name"),
        ("ordering", "-"),
        ("page_size", "0"),
        ("page_size", "101"),
        ("page_size", "١٠"),
        ("page_size", "1e2"),
        ("cursor", ""),
        ("cursor", "x" * 5000),
        ("cursor", "WyJhZnRlciJd"),
        ("cursor", "W1tbW1tb"),
        ("cursor", "\x00"),
    ],
)
def test_a_page_that_is_not_on_offer(works, api, path, name, value):
    answer = api.get(path, **{name: value})
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [name]


@pytest.mark.parametrize(
    "key", ["2026-W01-1", "now", "9999-99-99 00:00:00", "' OR 1", 5, None, [], {}, True, "\u0000"]
)
def test_a_forged_cursor_moves_nothing(works, api, key):
    place = base64.urlsafe_b64encode(json.dumps(["after", "-created", key, 1]).encode()).decode()
    assert api.get("runs", cursor=place).status_code == 422


@pytest.mark.parametrize(
    "text", ["'", '"', "%", "_", "\\", "<script>", "x" * 200, "‮", "0000", "ffffffff-", "🂡"]
)
def test_searching_for_odd_text_finds_nothing(job, edda, text):
    factories.run(job, by=edda)
    for path in ("runs", "jobs", "sites"):
        answer = API(edda).get(path, search=text)
        assert answer.status_code == 200
        if text != "0000":
            assert answer.json()["results"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("search", "x" * 1_000_000),
        ("search", "a\x00b"),
        ("status", "completed,failed"),
        ("outcome", "nonsense"),
        ("site", "'"),
        ("mine", "\x00"),
        ("started_after", "yesterday"),
        ("started_after", "0001-01-01T00:00:00+14:00"),
        ("created_before", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_a_filter_that_cannot_be_read_is_named(works, api, name, value):
    answer = api.get("runs", **{name: value})
    assert answer.status_code in (200, 422) if name == "mine" else answer.status_code == 422
    if answer.status_code == 422:
        assert list(answer.json()["errors"]) == [name]


@pytest.mark.parametrize(
    "path",
    ["", "nothing", "runs/1", "runs/", "sites/../admin", "runs/" + "f" * 36, "agent/nothing"],
)
def test_an_address_that_is_not_there_is_a_problem_too(works, api, path):
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_another_host_is_refused(works, api):
    answer = api.request("GET", "me", Host="evil.example")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer x", "Basic YTpi", "Bearer ym_user_", "Bearer \x00", "bearer  ", "Bearer ü"],
)
def test_a_token_that_is_none(works, header):
    answer = API().request("GET", "me", Authorization=header)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"


def test_text_that_looks_like_markup_comes_back_as_it_was(works, hall, api):
    name = "<img src=x onerror=alert(1)>"
    made = api.post("targets", {"site": str(hall.public_id), "name": name})
    assert (made.status_code, made.json()["name"]) == (201, name)
    assert made["Content-Type"] == "application/json"
    assert made["X-Content-Type-Options"] == "nosniff"


def test_a_name_is_taken_once(works, hall, press, api):
    again = api.post("targets", {"site": str(hall.public_id), "name": press.name})
    assert (again.status_code, again.json()["code"]) == (422, "name_taken")
    assert Target.objects.filter(name=press.name).count() == 1
