"""A backup at work, every door of the agent API, and everyone who could ask at one."""

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
from django.db.models.functions import Now

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

UNDER = "api/v1/agent/"
JSON, BYTES, LINES = "application/json", "application/octet-stream", "application/x-ndjson"
RUN = "runs/<uuid:run>"
ATTEMPT = f"{RUN}/attempts/<attempt:attempt>/"
SHA256 = hashlib.sha256(b"x").hexdigest()
TABLES: list[Any] = [
    Agent, Claim, EnrolmentCode, Event, FunctionVersion, JobRun, LateReport, RunFile, RunLog,
    RunRecord, Snapshot, StatusTransition,
]  # fmt: skip

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
