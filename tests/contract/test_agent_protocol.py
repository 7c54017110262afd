"""Who reaches which door of the agent API, and that nothing sent to one breaks or half-writes."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client

from agents import enrolment
from agents.models import Agent, EnrolmentCode, Function, FunctionVersion
from jobs.models import (
    Claim,
    JobRun,
    LateReport,
    RunFile,
    RunInput,
    RunLog,
    RunRecord,
    StatusTransition,
)
from sites.models import Event, Snapshot
from tests import factories
from tests.routes import routes
from tests.tables import contents, counts

pytestmark = pytest.mark.django_db
UNDER = "api/v1/agent/"
JSON, BYTES, LINES = "application/json", "application/octet-stream", "application/x-ndjson"
RUN = "runs/<uuid:run>"
ATTEMPT = f"{RUN}/attempts/<attempt:attempt>/"
SHA256 = hashlib.sha256(b"x").hexdigest()
TABLES: list[Any] = [
    Agent, Claim, EnrolmentCode, Event, FunctionVersion, JobRun, LateReport, RunFile, RunLog,
    RunRecord, Snapshot, StatusTransition,
]  # fmt: skip


class World:
    """A backup at work, and everyone who could ask."""

    def __init__(self) -> None:
        works, elsewhere = map(factories.organization, ("North Works", "Harbour Plant"))
        hall = factories.site(works, "Press hall")
        alice = factories.member(works, "alice", "administrator")
        oscar = factories.member(elsewhere, "oscar", "administrator")
        agent = factories.enrolled(works, "hall-agent", site=hall, by=alice)
        backup = Function.objects.get(name="backup")
        job = factories.job(factories.target(hall, "Press line 1"), backup, owner=alice)
        self.holder = agent.api
        factories.run(job, by=alice)
        [self.run] = agent.api.claim()
        assert agent.api.move(self.run, "running").status_code == 200
        _, self.code = enrolment.add_agent(works, name="new", site=hall, by=alice)
        self.input = RunInput.objects.create(
            run=JobRun.objects.get(),
            name="a.csv",
            media_type="text/csv",
            size=1,
            sha256=SHA256,
            storage_name="inputs/one",
        )
        retired = factories.enrolled(works, "retired", site=hall, by=alice)
        enrolment.retire(retired.agent, by=alice)
        self.askers = {
            "anonymous": factories.AgentAPI(""),
            "a person": factories.AgentAPI(factories.access_token(alice)),
            "retired": retired.api,
            "far": factories.enrolled(elsewhere, "far", by=oscar).api,
            "rival": factories.enrolled(works, "rival", site=hall, by=alice).api,
            "holder": agent.api,
        }
        self.file = uuid4()

    def body(self, name: str) -> Any:
        held = {key: self.run[key] for key in ("id", "attempt", "claim_id")}
        hello = {"version": "1", "platform": "", "tools": [factories.FOLDER]}
        report = {"status": "failed", "message": "No.", "error": "x", "counts": {"total": 1}}
        return {
            "enroll": hello | {"code": self.code, "name": "new"},
            "hello": hello,
            "claims": {"claim_id": str(uuid4()), "max": 2},
            "heartbeat": {"runs": [held | {"progress": 5}]},
            "run": {key: held[key] for key in ("attempt", "claim_id")}
            | {"status": "validating", "message": "On it.", "progress": 5},
            "runs": {"runs": [held | {"status": "validating"}]},
            "result": report,
            "results": {"results": [report | {"id": held["id"], "attempt": 1}]},
            "log": {"offset": 0, "text": "line\n"},
            "records": {"records": [{"sequence": 1, "status": "success", "name": "4711"}]},
            "file": {"name": "a.txt", "media_type": "text/plain", "size": 1, "sha256": SHA256},
            "snapshot": {"tree": "1" * 40},
            "content": {"size": 1},
        }[name]

    def path(self, route: str) -> str:
        return (
            route.replace("<uuid:run>", self.run["id"])
            .replace("<attempt:attempt>", "1")
            .replace("<uuid:file>", str(self.file))
            .replace("<uuid:input>", str(self.input.public_id))
            .replace("<sha256:sha256>", SHA256)
        )

    def ask(self, who: str, row: tuple[Any, ...]) -> Any:
        method, route, body, kind, _ = row
        data = body if isinstance(body, bytes) else self.body(body) if body else b""
        query = "?offset=0" if method == "PUT" and kind == BYTES else ""
        return self.askers[who].request(method, self.path(route) + query, data, kind=kind)


@pytest.fixture(scope="module")
def made(for_all) -> World:
    return World()


@pytest.fixture
def world(made, tmp_path, settings) -> World:
    """What is there, over folders of the test's own."""
    settings.STAGING_ROOT = tmp_path / "staging"
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.VAULT_ROOT = tmp_path / "vault"
    default_storage.save("inputs/one", ContentFile(b"a"))
    # It was claimed for the first test of the file, and is held in the last one too.
    JobRun.objects.update(lease_until=Now() + timedelta(seconds=60))
    return made


def check_problem(answer: Any) -> dict[str, Any]:
    """Every refusal is problem JSON, and tells nothing of our insides."""
    assert 400 <= answer.status_code < 500, answer.content[:500]
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.content)
    assert body["status"] == answer.status_code
    assert body["type"] == f"urn:yardmaster:problem:{body['code']}"
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in str(body)
    return body


# --- principal × route ----------------------------------------------------------------------------

# (method, route, body by name, content type, status for: another organization's agent, another
# agent of this one, the agent that holds the run). Everyone else is 401, except at enrolment.
TABLE = [
    ("POST", "enroll", "enroll", JSON, (201, 201, 201)),
    ("POST", "hello", "hello", JSON, (200, 200, 200)),
    # Nothing has to be said: whatever comes as a body is not read.
    ("POST", "token", None, BYTES, (201, 201, 201)),
    ("POST", "claims", "claims", JSON, (204, 204, 204)),
    ("POST", "heartbeat", "heartbeat", JSON, (200, 200, 200)),
    ("PATCH", "runs", "runs", JSON, (200, 200, 200)),
    ("PUT", "results", "results", JSON, (200, 200, 200)),
    ("PATCH", RUN, "run", JSON, (404, 404, 200)),
    ("PUT", f"{ATTEMPT}result", "result", JSON, (404, 404, 200)),
    ("POST", f"{ATTEMPT}log", "log", JSON, (404, 404, 200)),
    ("POST", f"{ATTEMPT}records", "records", JSON, (404, 404, 200)),
    ("PUT", f"{ATTEMPT}files/<uuid:file>", b"x", BYTES, (404, 404, 200)),
    # Nothing was staged.
    ("POST", f"{ATTEMPT}files/<uuid:file>", "file", JSON, (404, 404, 422)),
    ("GET", f"{ATTEMPT}inputs/<uuid:input>", None, BYTES, (404, 404, 200)),
    ("POST", f"{ATTEMPT}snapshot", "snapshot", JSON, (404, 404, 200)),
    ("POST", f"{ATTEMPT}snapshot/manifest", b"\n", LINES, (404, 404, 200)),
    # No manifest was sent.
    ("POST", f"{ATTEMPT}snapshot/objects", b"x" * 24, BYTES, (404, 404, 422)),
    ("PUT", f"{ATTEMPT}snapshot/content/<sha256:sha256>", b"x", BYTES, (404, 404, 200)),
    ("POST", f"{ATTEMPT}snapshot/content/<sha256:sha256>", "content", JSON, (404, 404, 422)),
    ("POST", f"{ATTEMPT}snapshot/seal", "snapshot", JSON, (404, 404, 422)),
]
NAMES = [f"{row[0]} {row[1]}" for row in TABLE]


@pytest.mark.once
def test_every_route_is_in_the_table():
    table = {(method, UNDER + route) for method, route, *_ in TABLE}
    assert table == routes(under=UNDER)


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_who_reaches_a_door(world, row):
    free = row[1] == "enroll"
    before, held = counts(TABLES), contents(JobRun)
    for who in ("anonymous", "a person", "retired"):
        if free:
            continue
        answer = world.ask(who, row)
        assert (answer.status_code, check_problem(answer)["code"]) == (401, "not_authenticated")
        assert answer["WWW-Authenticate"] == "Bearer"
    nothing = None
    for who, status in zip(("far", "rival", "holder"), row[4], strict=True):
        with transaction.atomic():
            answer = world.ask(who, row)
            said = b"".join(answer) if answer.streaming else answer.content
            assert answer.status_code == status, (who, said)
            if who != "holder" and status == 404:
                # What is another's looks like what does not exist.
                nothing = nothing or check_problem(answer)
                assert check_problem(answer) == nothing
            if row[1] in ("heartbeat", "runs", "results"):
                [item] = next(iter(v for v in answer.json().values() if isinstance(v, list)))
                assert item["code"] == ("ok" if who == "holder" else "not_found")
            if free:
                # Each asks with the same code: what one did must not stand in the next one's way.
                transaction.set_rollback(True)
        if who != "holder" and not free and row[1] != "hello":
            assert (counts(TABLES), contents(JobRun)) == (before, held), who


METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


@pytest.mark.once
def test_other_methods_are_405(world):
    for route in {row[1] for row in TABLE}:
        allowed = {one for one, address in routes(under=UNDER) if address == UNDER + route}
        for method in METHODS - allowed:
            answer = world.holder.request(method, world.path(route), {})
            assert answer.status_code == 405, (method, route)
            assert set(answer["Allow"].split(", ")) == allowed, (method, route)


# --- bad input ------------------------------------------------------------------------------------

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


def ask(world: World, path: str = "heartbeat", data: bytes = b'{"runs": []}', **meta: str) -> Any:
    """Call the application as a server does, with any header and any body, also a broken one."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "PUT" if "files/" in path else "POST",
        "PATH_INFO": f"/api/v1/agent/{path.partition('?')[0]}",
        "QUERY_STRING": path.partition("?")[2],
        "CONTENT_TYPE": JSON,
        "CONTENT_LENGTH": str(len(data)),
        "HTTP_AUTHORIZATION": f"Bearer {world.holder.token}",
        "HTTP_HOST": "127.0.0.1",
        "wsgi.input": io.BytesIO(data),
    }
    setup_testing_defaults(environ)
    # Without the signals of a request, which would close the test's connection.
    return WSGIHandler().get_response(WSGIRequest(environ | meta))


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
    "header",
    ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer \xff", "Bearer " + "x" * 10_000, "bearer {} x"],
)
def test_an_authorization_that_is_none_is_401(world, header):
    answer = ask(world, HTTP_AUTHORIZATION=header.replace("{}", world.holder.token))
    assert (answer.status_code, check_problem(answer)["code"]) == (401, "not_authenticated")


@pytest.mark.once
@pytest.mark.parametrize(
    "path",
    [
        "nonsense",
        "runs/1",
        "runs/{run}/",
        "runs/{run}/attempts/x/log",
        "runs/{run}/attempts/-1/log",
        "runs/{run}/attempts/9999999999/log",
        "runs/{run}/attempts/1/files/x",
        "runs/{run}/attempts/1/snapshot/content/x",
        "runs/{run}/attempts/1/snapshot/content/../../seal",
        "claims/",
        "%00",
        "runs/%2e%2e",
    ],
)
def test_addresses_that_do_not_exist_are_404(world, path):
    answer = world.holder.post(path.format(run=world.run["id"]))
    assert (answer.status_code, check_problem(answer)["code"]) == (404, "not_found")


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


def test_guessing_codes_is_slowed_down(world):
    """Twenty wrong codes from one address, and it has to wait; others do not."""
    body = world.body("enroll")
    anonymous = world.askers["anonymous"]
    for _ in range(20):
        answer = anonymous.post("enroll", body | {"code": "AAAA-BBBB-CCCC"})
        assert answer.status_code == 403
    answer = anonymous.post("enroll", body)
    assert (answer.status_code, check_problem(answer)["code"]) == (429, "too_many_requests")
    assert answer["Retry-After"] == "60"
    elsewhere = Client(REMOTE_ADDR="10.20.4.11").post("/api/v1/agent/enroll", body, JSON)
    assert elsewhere.status_code == 201
