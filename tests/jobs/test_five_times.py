"""Every request of an agent that comes five times at once has one effect, on both databases."""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from agents import enrolment
from agents.models import Agent, AgentPresence, EnrolmentCode, Function, FunctionVersion
from jobs import sweeps
from jobs.models import (
    Claim,
    JobRun,
    LateReport,
    RunFile,
    RunLog,
    RunRecord,
    StatusTransition,
)
from sites import quota
from sites.models import Event, Snapshot
from tests import factories
from tests.backups import entries_of, send
from tests.invariants import check_files, check_runs
from tests.jobs.passing import lease_over
from tests.tables import counts
from tests.web import WebAgent, at_once
from yardmaster.objects import blob_id, tree_id

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

TABLES: list[Any] = [
    Agent, AgentPresence, Claim, EnrolmentCode, Event, FunctionVersion, JobRun, LateReport, RunFile,
    RunLog, RunRecord, Snapshot, StatusTransition,
]  # fmt: skip
BYTES = "application/octet-stream"
FILES = {"main.st": b"A := 1;\n", "io/map.csv": b"1,2\n"}
LARGE = b"0123456789abcdef" * (9 * 2**16)
LARGE_ID = hashlib.sha256(LARGE).hexdigest()


class Scene:
    """One agent, one backup job and a run in the status that a request needs."""

    def __init__(self, works: Any, hall: Any, alice: Any, edda: Any, port: int) -> None:
        self.works, self.hall, self.alice, self.port = works, hall, alice, port
        self.one = factories.enrolled(works, "hall-agent", site=hall, by=alice)
        self.api = WebAgent(self.one.api.token, port)
        backup = Function.objects.get(name="backup")
        self.job = factories.job(factories.target(hall, "Press line 1"), backup, owner=edda)
        factories.run(self.job, by=edda)

    def at(self, status: str) -> dict[str, Any]:
        [run] = self.api.claim()
        path = ["claimed", "running", "validating", "uploading"]
        for step in path[1 : path.index(status) + 1]:
            assert self.api.move(run, step).status_code == 200
        return run

    def path(self, run: dict[str, Any], rest: str) -> str:
        return self.api.of(run, rest)


@pytest.fixture
def scene(works, hall, alice, edda, port) -> Scene:
    return Scene(works, hall, alice, edda, port)


def enroll(scene):
    _, code = enrolment.add_agent(scene.works, name="new", site=scene.hall, by=scene.alice)
    body = {"code": code, "name": "", "version": "1", "platform": "", "tools": [factories.FOLDER]}
    return ("POST", "enroll", body), {201: 1, 403: 4}, {"Event": 1, "AgentPresence": 1}


def hello(scene):
    tools = [factories.FOLDER, factories.FOLDER | {"name": "other"}]
    body = {"version": "2", "platform": "", "tools": tools}
    # Each hello is news to those who look at the agent.
    return ("POST", "hello", body), {200: 5}, {"FunctionVersion": 2, "Event": 5}


def claims(scene):
    body = {"claim_id": str(uuid4()), "max": 1}
    return ("POST", "claims", body), {200: 5}, {"Claim": 1, "StatusTransition": 1, "Event": 1}


def moving(before, to):
    def make(scene):
        run = scene.at(before)
        body = {"attempt": 1, "claim_id": run["claim_id"], "status": to, "message": "On it."}
        return ("PATCH", f"runs/{run['id']}", body), {200: 5}, {"StatusTransition": 1, "Event": 1}

    return make


def heartbeat(scene):
    run = scene.at("running")
    line = {"id": run["id"], "attempt": 1, "claim_id": run["claim_id"], "progress": 40}
    return ("POST", "heartbeat", {"runs": [line]}), {200: 5}, {}


def heartbeat_of_a_lost_agent(scene):
    AgentPresence.objects.update(lost=True)
    return ("POST", "heartbeat", {"runs": []}), {200: 5}, {"Event": 1}


def log(scene):
    run = scene.at("running")
    return ("POST", scene.path(run, "log"), {"offset": 0, "text": "ä\n"}), {200: 5}, {"RunLog": 1}


def records(scene):
    run = scene.at("running")
    rows = [{"sequence": number, "status": "success"} for number in range(100)]
    return ("POST", scene.path(run, "records"), {"records": rows}), {200: 5}, {"RunRecord": 100}


def file_chunk(scene):
    run = scene.at("running")
    path = scene.path(run, f"files/{uuid4()}?offset=0")
    return ("PUT", path, b"x" * 100_000, BYTES), {200: 1, 416: 4}, {}


def file_close(scene):
    run = scene.at("running")
    file = scene.path(run, f"files/{uuid4()}")
    assert scene.api.put(f"{file}?offset=0", b"one", kind=BYTES).status_code == 200
    body = {"name": "a", "media_type": "text/plain", "size": 3}
    body["sha256"] = hashlib.sha256(b"one").hexdigest()
    return ("POST", file, body), {201: 1, 200: 4}, {"RunFile": 1}


def snapshot_open(scene):
    run = scene.at("running")
    return ("POST", scene.path(run, "snapshot"), {"tree": "1" * 40}), {200: 5}, {}


def listed(files):
    return b"".join(
        json.dumps({"path": e.path, "mode": e.mode, "size": e.size, "id": e.id}).encode() + b"\n"
        for e in entries_of(files)
    )


def manifest(scene):
    run = scene.at("running")
    body = {"tree": tree_id(entries_of(FILES))}
    assert scene.api.post(scene.path(run, "snapshot"), body).status_code == 200
    path = scene.path(run, "snapshot/manifest")
    return ("POST", path, listed(FILES), "application/x-ndjson"), {200: 5}, {}


def objects(scene):
    (_, path, body, kind), _, _ = manifest(scene)
    assert scene.api.post(path, body, kind=kind).status_code == 200
    frames = b"".join(
        bytes.fromhex(blob_id(data)) + len(data).to_bytes(4, "big") + data
        for data in FILES.values()
    )
    return ("POST", path.replace("manifest", "objects"), frames, BYTES), {200: 5}, {}


def content_chunk(scene):
    run = scene.at("running")
    path = scene.path(run, f"snapshot/content/{LARGE_ID}?offset=0")
    return ("PUT", path, LARGE[: 2**20], BYTES), {200: 1, 416: 4}, {}


def content_close(scene):
    run = scene.at("running")
    assert scene.api.post(scene.path(run, "snapshot"), {"tree": "1" * 40}).status_code == 200
    content = scene.path(run, f"snapshot/content/{LARGE_ID}")
    for offset in range(0, len(LARGE), 8 * 2**20):
        piece = LARGE[offset : offset + 8 * 2**20]
        answer = scene.api.put(f"{content}?offset={offset}", piece, kind=BYTES)
        assert answer.status_code == 200
    return ("POST", content, {"size": len(LARGE)}), {201: 1, 200: 4}, {}


def seal(scene):
    (_, path, frames, kind), _, _ = objects(scene)
    assert scene.api.post(path, frames, kind=kind).status_code == 200
    body = {"tree": tree_id(entries_of(FILES))}
    return ("POST", path.replace("objects", "seal"), body), {200: 5}, {"Snapshot": 1}


def fill(scene):
    """Take all the room that the organization has."""
    scene.works.storage_limit_mb = 1
    scene.works.save()
    quota.count_as(scene.works.pk, "packs/another", lambda: 2**20 + 1)


def manifest_without_room(scene):
    request, _, _ = manifest(scene)
    fill(scene)
    return request, {422: 5}, {}


def seal_without_room(scene):
    request, _, _ = seal(scene)
    fill(scene)
    return request, {422: 5}, {}


def result(scene):
    run = scene.at("running")
    send(scene.api, run, FILES)
    body = {"status": "completed", "message": "Done."}
    path = scene.path(run, "result")
    return ("PUT", path, body), {200: 5}, {"StatusTransition": 1, "Event": 1}


def late_result(scene):
    run = scene.at("running")
    lease_over(run)
    assert sweeps.sweep() == 1
    body = {"status": "failed", "message": "Too late."}
    return ("PUT", scene.path(run, "result"), body), {409: 5}, {"LateReport": 1, "Event": 1}


REQUESTS = {
    "enroll": enroll,
    "hello": hello,
    "claims": claims,
    "running": moving("claimed", "running"),
    "validating": moving("running", "validating"),
    "uploading": moving("validating", "uploading"),
    "heartbeat": heartbeat,
    "heartbeat of a lost agent": heartbeat_of_a_lost_agent,
    "log": log,
    "records": records,
    "file chunk": file_chunk,
    "file close": file_close,
    "snapshot": snapshot_open,
    "manifest": manifest,
    "manifest without room": manifest_without_room,
    "objects": objects,
    "content chunk": content_chunk,
    "content close": content_close,
    "seal": seal,
    "seal without room": seal_without_room,
    "result": result,
    "late result": late_result,
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_comes_five_times_at_once_has_one_effect(scene, name):
    (method, path, body, *kind), statuses, effect = REQUESTS[name](scene)
    before = counts(TABLES)
    senders = [WebAgent(scene.one.api.token, scene.port) for _ in range(5)]
    options = {"kind": kind[0]} if kind else {}
    answers = at_once([partial(api.request, method, path, body, **options) for api in senders])
    got = collections.Counter(answer.status_code for answer in answers)
    if name == "content close":
        # Stored by its hash, so that it is new to each of those who come at the same moment.
        got = statuses if set(got) <= {200, 201} and got[201] else got
    assert got == statuses, [answer.content[:300] for answer in answers]
    after = counts(TABLES)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        **effect
    }
    if set(got) == {200} and name != "records":
        replies = {json.dumps(answer.json(), sort_keys=True) for answer in answers}
        assert len(replies) == 1, replies
    if name == "result":
        assert sum("Idempotency-Replayed" in answer for answer in answers) == 4
    if 416 in got:
        lengths = {answer.json()["length"] for answer in answers}
        assert lengths == {len(body)}
    check_runs()
    check_files()


def test_a_claim_that_comes_five_times_at_once_is_answered_alike(scene):
    """Rule 11, thirty times: none may hear "nothing waits" of what another one has just taken."""
    senders = [WebAgent(scene.one.api.token, scene.port) for _ in range(5)]
    for _ in range(30):
        body = {"claim_id": str(uuid4()), "max": 1}
        answers = at_once([partial(api.post, "claims", body) for api in senders])
        assert {answer.status_code for answer in answers} == {200}
        [run] = {json.dumps(answer.json()["runs"]) for answer in answers}
        [claimed] = json.loads(run)
        assert scene.api.move(claimed, "running").status_code == 200
        assert scene.api.finish(claimed, "failed").status_code == 200
        factories.run(scene.job, by=scene.alice)


def test_chunks_sent_by_five_at_once_make_the_file_that_was_meant(scene):
    """Each of five senders goes on from the length that it is told, as the protocol says."""
    run = scene.at("running")
    file = scene.path(run, f"files/{uuid4()}")
    data = bytes(range(256)) * 2000

    def upload() -> list[int]:
        api = WebAgent(scene.one.api.token, scene.port)
        length, said = 0, []
        while length < len(data):
            piece = data[length : length + 50_000]
            answer = api.put(f"{file}?offset={length}", piece, kind=BYTES)
            said.append(answer.status_code)
            length = answer.json()["length"]
        return said

    said = collections.Counter(itertools.chain(*at_once([upload] * 5)))
    assert set(said) <= {200, 416}
    assert said[200] == len(range(0, len(data), 50_000))
    body = {"name": "a", "media_type": "text/plain", "size": len(data)}
    body["sha256"] = hashlib.sha256(data).hexdigest()
    assert scene.api.post(file, body).status_code == 201
    assert check_files() == 1
