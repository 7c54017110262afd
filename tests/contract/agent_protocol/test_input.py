"""Nothing that is sent to a door of the agent API breaks it or is written by half."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from agents.models import Function
from jobs.models import JobRun
from tests.contract.agent_protocol.conftest import (
    ATTEMPT,
    BYTES,
    JSON,
    LINES,
    TABLE,
    TABLES,
    ask,
    check_problem,
)
from tests.tables import contents, counts

pytestmark = pytest.mark.django_db
WITH_JSON = [row for row in TABLE if row[3] == JSON]
INSERTED = {
    "NaN": '"extra": NaN',
    "infinite": '"extra": -Infinity',
    "overflow": '"extra": 1e400',
    "endless number": '"extra": ' + "9" * 6000,
    "over 64 bits": '"extra": 9223372036854775808',
    "NUL": '"extra": "a\\u0000b"',
    "lone surrogate": '"extra": "\\ud800"',
    "lone surrogate as key": '"\\udfff": 1',
    "same key twice": '"extra": 1, "extra": 2',
    "deep": '"extra": ' + "[" * 100_000 + "]" * 100_000,
    "deep objects": '"extra": ' + '{"a":' * 60 + "1" + "}" * 60,
}
WHOLE = {
    "nothing": b" ",
    "half": b'{"a": ',
    "words": b"nonsense",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "open lists": b"[" * 1_000_000,
    "two documents": b"{} {}",
    "a form": b"a=1&b=2",
}


@pytest.mark.once
@pytest.mark.parametrize("row", WITH_JSON, ids=[f"{row[0]} {row[1]}" for row in WITH_JSON])
def test_what_is_no_json_is_400_and_leaves_nothing(world, row):
    method, route, body, *_ = row
    before, held = counts(TABLES), contents(JobRun)
    good = json.dumps(world.body(body))
    bodies = {name: f"{good[:-1]}, {text}}}".encode() for name, text in INSERTED.items()}
    for name, data in (WHOLE | bodies).items():
        answer = world.holder.request(method, world.path(route), data)
        assert (answer.status_code, check_problem(answer)["code"]) == (400, "malformed"), name
    assert (counts(TABLES), contents(JobRun)) == (before, held)


VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 2**31, 2**53 + 1, 2**63 - 1, "", "x", " ", "-1", "1e5", "\u202e",
    "😀" * 50, "a\nb", "x" * 20_000, "0" * 40, "x" * 64, str(uuid4()), [], {}, [[]], [None],
    [1] * 300, {"a": 1}, {"id": 1}, "9999-12-31T23:59:59-14:00",
]  # fmt: skip


def mangled(body: Any) -> Any:
    """Give a body with each of its values, however deep, left out or put in place of by others."""
    if isinstance(body, dict):
        for key, value in body.items():
            yield {name: item for name, item in body.items() if name != key}
            for other in VALUES:
                yield body | {key: other}
            for changed in mangled(value):
                yield body | {key: changed}
    elif isinstance(body, list) and body:
        for changed in mangled(body[0]):
            yield [changed, *body[1:]]


@pytest.mark.once
@pytest.mark.parametrize("row", WITH_JSON, ids=[f"{row[0]} {row[1]}" for row in WITH_JSON])
def test_wrong_values_are_refused_and_leave_nothing(world, row):
    """I9: what is answered 4xx has no effect; what is answered 2xx was right after all."""
    method, route, body, *_ = row
    good = world.body(body)
    if route == "enroll":
        # As at hello, where they are tried out.
        good["tools"] = []
    if route == "hello":
        good["tools"] = [{"name": "t", "version": "1", "functions": [
            {"name": "f", "title": "F", "produces": "files", "takes": ["a/b"],
             "parameters": {"properties": {"p": {"type": "string"}}}}]}]  # fmt: skip
    before, held = counts(TABLES), contents(JobRun)
    refused = 0
    for bad in mangled(good):
        with transaction.atomic():
            answer = world.holder.request(method, world.path(route), bad)
            assert answer.status_code < 500, (bad, answer.content)
            if answer.status_code >= 400:
                check_problem(answer)
                refused += 1
            else:
                transaction.set_rollback(True)
        if answer.status_code >= 400:
            assert (counts(TABLES), contents(JobRun)) == (before, held), bad
    assert refused > 10


def test_fields_that_are_not_the_agents_to_set_change_nothing(world):
    good = world.body("run")
    extra = {
        "id": str(uuid4()), "organization": 1, "started_by": 1, "agent": 2, "result": "success",
        "deadline_at": "2100-01-01", "lease_until": "2100-01-01", "run_timeout_s": 10**6,
    }  # fmt: skip
    before = JobRun.objects.values("organization", "started_by", "agent", "result", "deadline_at")
    first = before.get()
    answer = world.holder.patch(f"runs/{world.run['id']}", good | extra)
    assert answer.status_code == 200
    assert before.get() == first


@pytest.mark.once
def test_other_content_types_are_415(world):
    kinds = ("text/plain", "multipart/form-data; boundary=x", "application/xml", "nonsense")
    for method, route, body, kind, _ in TABLE:
        if body is None:  # of a door that reads none
            continue
        data = body if isinstance(body, bytes) else json.dumps(world.body(body)).encode()
        query = "?offset=0" if method == "PUT" and kind == BYTES else ""
        for other in kinds:
            answer = world.holder.request(method, world.path(route) + query, data, kind=other)
            said = (answer.status_code, check_problem(answer)["code"])
            assert said == (415, "wrong_type"), (route, other)


@pytest.mark.once
def test_a_json_body_has_a_largest_size(world):
    body = b'{"runs": [], "more": "' + b"x" * (16 * 2**20) + b'"}'
    answer = world.holder.request("POST", "heartbeat", body)
    assert (answer.status_code, check_problem(answer)["code"]) == (413, "too_large")


@pytest.mark.once
@pytest.mark.parametrize("length", ["abc", "-5", "", "9" * 30, "٣"])
def test_a_content_length_that_is_none(world, length):
    answer = ask(world, CONTENT_LENGTH=length)
    assert answer.status_code == (413 if length == "9" * 30 else 400)
    check_problem(answer)


@pytest.mark.once
def test_a_body_that_ends_early_is_400(world):
    chunk = world.path(f"{ATTEMPT}files/<uuid:file>")
    for path, kind, data in (
        ("heartbeat", JSON, b'{"runs": []}'),
        (world.path(f"{ATTEMPT}snapshot/manifest"), LINES, b"\n"),
        (f"{chunk}?offset=0", BYTES, b"half"),
    ):
        answer = ask(world, path, data, CONTENT_TYPE=kind, CONTENT_LENGTH=str(len(data) + 10))
        assert (answer.status_code, check_problem(answer)["code"]) == (400, "malformed"), path
    # Not a byte of the half chunk was taken.
    answer = world.holder.request("PUT", f"{chunk}?offset=4", b"x", kind=BYTES)
    assert (answer.status_code, answer.json()["length"]) == (416, 0)


@pytest.mark.once
@pytest.mark.parametrize("host", ["evil.example", "a b", "[::"])
def test_a_host_that_is_not_ours_is_400(world, host):
    answer = ask(world, HTTP_HOST=host)
    assert (answer.status_code, check_problem(answer)["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    "parameters",
    [
        {"$ref": "http://127.0.0.1:1/x"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"$dynamicRef": "other#x"}}},
        {"$ref": "#/$defs/absent"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "nonsense"},
        {"pattern": "("},
        {"properties": []},
    ],
)
def test_a_schema_that_fetches_or_has_no_end_is_refused(world, parameters):
    tool = {"name": "t", "version": "1", "functions": [{"name": "f", "parameters": parameters}]}
    answer = world.holder.post("hello", {"version": "1", "platform": "", "tools": [tool]})
    assert (answer.status_code, check_problem(answer)["code"]) == (422, "invalid")
    assert not Function.objects.filter(name="f").exists()
