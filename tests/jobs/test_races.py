"""What holds when many do the same at once: real processes, real connections, both databases."""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F

from agents import enrolment
from agents.models import Agent, AgentPresence, EnrolmentCode, Function, FunctionVersion, Queue
from jobs import sweeps, transitions
from jobs.models import (
    Claim,
    JobRun,
    LateReport,
    RunFile,
    RunLog,
    RunRecord,
    StatusTransition,
)
from jobs.starts import start_function, start_run
from jobs.states import Status
from sites.models import Event, Snapshot
from sites.problems import Refused
from tests import factories
from tests.backups import entries_of, send
from tests.invariants import check_files, check_runs
from tests.jobs.passing import lease_over
from tests.tables import counts
from tests.web import PATIENCE_S, WebAgent, at_once, hang_up, portal
from yardmaster.objects import blob_id, tree_id

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


@pytest.fixture(scope="module")
def port(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[int]:
    """A real portal over the test database."""
    with django_db_blocker.unblock(), portal(tmp_path_factory.mktemp("web") / "log") as number:
        yield number


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    """Close what a test has opened."""
    yield
    hang_up()


def web(one: factories.Enrolled, port: int) -> WebAgent:
    return WebAgent(one.api.token, port)


def test_64_claimers_take_1000_runs_of_50_targets(works, hall, alice, port):
    """Rule 5: one holder per run and attempt, never two on one target and function, no 5xx."""
    with transaction.atomic():
        agents = [
            factories.enrolled(works, f"agent {number}", site=hall, by=alice, slots=4)
            for number in range(64)
        ]
        listing = Function.objects.get(name="list")
        for number in range(50):
            target = factories.target(hall, f"Line {number}")
            for _ in range(20):
                start_function(target, listing, by=alice)
    busy: dict[str, str] = {}
    taken: collections.Counter[tuple[str, int]] = collections.Counter()
    answers: collections.Counter[tuple[str, int]] = collections.Counter()
    lock = threading.Lock()
    left = 1000

    def work(one: factories.Enrolled) -> None:
        nonlocal left
        api = web(one, port)
        until = time.monotonic() + 4 * PATIENCE_S
        idle = 0.02
        while left > 0 and time.monotonic() < until:
            answer = api.post("claims", {"claim_id": str(uuid4()), "max": 4})
            with lock:
                answers["claim", answer.status_code] += 1
            runs = answer.json()["runs"] if answer.status_code == 200 else []
            for run in runs:
                with lock:
                    taken[run["id"], run["attempt"]] += 1
                    # The one that had this target has its result acknowledged only after the
                    # portal freed the target, so a name may still stand here: it is checked
                    # against the histories below.
                    busy[run["target"]["id"]] = run["id"]
            for run in runs:
                for said in (api.move(run, "running"), api.finish(run)):
                    with lock:
                        answers["work", said.status_code] += 1
                with lock:
                    left -= 1
            # As agents do: who found nothing waits, and longer each time.
            idle = 0.02 if runs else min(idle * 2, 0.6)
            if not runs:
                time.sleep(idle)

    at_once([partial(work, one) for one in agents])
    assert left == 0
    assert len(busy) == 50
    assert set(answers) <= {("claim", 200), ("claim", 204), ("work", 200)}, answers
    assert answers["work", 200] == 2000
    assert len(taken) == 1000
    assert set(taken.values()) == {1}
    assert {attempt for _, attempt in taken} == {1}
    assert check_runs(all_final=True) == 1000
    assert not JobRun.objects.exclude(status="completed").exists()


def test_cancel_against_claim_1000_rounds(works, hall, alice, edda, port):
    """Domain rule 1: exactly one of them wins each time."""
    lanes, rounds = 4, 250
    made: list[tuple[factories.Enrolled, list[JobRun], Queue]] = []
    with transaction.atomic():
        for number in range(lanes):
            one = factories.enrolled(works, f"agent {number}", site=hall, by=alice, slots=64)
            listing = Function.objects.get(name="list")
            job = factories.job(
                factories.target(hall, f"Line {number}"),
                listing,
                owner=edda,
                allow_overlap=True,
                assignment="agent",
                agent=one.agent,
            )
            runs = [start_run(job, by=edda).run for _ in range(rounds)]
            assert runs[0].queue is not None
            made.append((one, runs, runs[0].queue))
    # Each waits out of sight until its round.
    JobRun.objects.update(queue=None)
    won: collections.Counter[str] = collections.Counter()

    def lane(one: factories.Enrolled, runs: list[JobRun], queue: Queue) -> list[tuple[bool, bool]]:
        api = web(one, port)
        found = []
        held = 0
        delay = 0.0
        start = threading.Barrier(2)
        canceled: list[bool] = []

        def cancel_all() -> None:
            try:
                for run in runs:
                    start.wait(PATIENCE_S)
                    time.sleep(delay)
                    try:
                        transitions.cancel(run, by=edda)
                        canceled.append(True)
                    except Refused as refused:
                        if refused.code != "not_pending":
                            raise
                        canceled.append(False)
                    start.wait(PATIENCE_S)
            finally:
                connection.close()

        rival = threading.Thread(target=cancel_all, daemon=True)
        rival.start()
        for run in runs:
            JobRun.objects.filter(pk=run.pk).update(queue=queue)
            start.wait(PATIENCE_S)
            taken = api.claim()
            start.wait(PATIENCE_S)
            assert [one["id"] for one in taken] in ([], [str(run.public_id)])
            found.append((bool(taken), canceled[-1]))
            # The loser gets a head start next time, so that it is close every time.
            delay = min(0.05, delay * 1.2 + 0.0005) if canceled[-1] else delay * 0.8
            held += len(taken)
            if held == 64:
                with transaction.atomic():
                    transitions.revoke(one.agent, alice)
                held = 0
        rival.join()
        return found

    results = at_once([partial(lane, *lane_of) for lane_of in made])
    for taken, canceled in itertools.chain(*results):
        assert taken != canceled
        won["claim" if taken else "cancel"] += 1
    assert sum(won.values()) == 1000
    assert min(won["claim"], won["cancel"]) > 0, won
    assert check_runs() == 1000
    assert JobRun.objects.filter(status="canceled").count() == won["cancel"]


def test_completion_against_time_out_300_rounds(works, hall, alice, port, monkeypatch):
    """One final state each; a report that came too late is kept, once."""
    monkeypatch.setattr(sweeps, "BATCH", 3)
    agents = [
        factories.enrolled(works, f"agent {number}", site=hall, by=alice, slots=64)
        for number in range(4)
    ]
    listing = Function.objects.get(name="list")
    targets = [factories.target(hall, f"Line {number}") for number in range(100)]
    apis = [web(one, port) for one in agents]
    won: collections.Counter[int] = collections.Counter()
    for _ in range(3):
        with transaction.atomic():
            for target in targets:
                start_function(target, listing, by=alice)
        held = [api.claim(25) for api in apis]
        assert sum(map(len, held)) == 100
        with transaction.atomic():
            for api, runs in zip((one.api for one in agents), held, strict=True):
                for run in runs:
                    assert api.move(run, "running").status_code == 200
                    lease_over(run)
        done = threading.Event()

        def report(api: WebAgent, runs: list[dict[str, Any]]) -> list[int]:
            return [api.finish(run).status_code for run in runs]

        def sweep(done: threading.Event = done) -> None:
            while not done.is_set():
                sweeps.sweep()
                time.sleep(0.002)

        def report_all(
            api: WebAgent, runs: list[dict[str, Any]], done: threading.Event = done
        ) -> Any:
            try:
                return report(api, runs)
            finally:
                done.set()

        given = at_once(
            [
                *[
                    lambda a=api, r=runs: report_all(a, r)
                    for api, runs in zip(apis, held, strict=True)
                ],
                sweep,
                sweep,
            ]
        )
        won.update(itertools.chain(*given[:4]))
        sweeps.sweep()
    assert set(won) <= {200, 409}, won
    assert sum(won.values()) == 300
    assert check_runs(all_final=True) == 300
    assert JobRun.objects.filter(status="completed").count() == won[200]
    assert JobRun.objects.filter(status="timed_out", reason="agent_lost").count() == won[409]
    assert LateReport.objects.count() == won[409]


# --- every request five times at once -------------------------------------------------------------

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
        self.api = web(self.one, port)
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
    "objects": objects,
    "content chunk": content_chunk,
    "content close": content_close,
    "seal": seal,
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


def test_five_sweeps_at_once_move_each_run_once(works, hall, agent, alice):
    listing = Function.objects.get(name="list")
    with transaction.atomic():
        for number in range(60):
            start_function(factories.target(hall, f"Line {number}"), listing, by=alice)
    Agent.objects.update(slots=60)
    with transaction.atomic():
        for run in agent.api.claim(60):
            lease_over(run)
    assert sum(at_once([sweeps.sweep] * 5)) == 60
    assert JobRun.objects.filter(status="pending", lease_losses=1).count() == 60
    assert check_runs() == 60


def test_two_presses_at_once_start_one_run(job, edda):
    started = at_once([lambda: start_run(job, by=edda)] * 5)
    assert sum(one.created for one in started) == 1
    assert len({one.run.pk for one in started}) == 1
    assert JobRun.objects.filter(attempt=F("attempt")).count() == check_runs() == 1


def test_a_move_that_waited_for_another_knows_where_it_came_from(works, hall, alice, port):
    """Retiring ends what an agent holds, also what it is moving at this very moment (I4)."""
    one = factories.enrolled(works, "one", site=hall, by=alice)
    start_function(factories.target(hall, "Line 1"), Function.objects.get(name="list"), by=alice)
    api = web(one, port)
    [run] = api.claim()
    api.move(run, "running")
    moved, asked = threading.Event(), threading.Event()

    def move() -> None:
        with transaction.atomic():
            transitions.report_status(
                one.agent,
                UUID(run["id"]),
                attempt=1,
                claim_id=UUID(run["claim_id"]),
                to=Status.VALIDATING,
            )
            moved.set()
            asked.wait(PATIENCE_S)
            # The other one is at the row by now, or comes to it later: both ways must be right.
            time.sleep(0.3)

    def retire() -> None:
        moved.wait(PATIENCE_S)
        asked.set()
        enrolment.retire(one.agent, by=alice)

    at_once([move, retire])
    assert check_runs(all_final=True) == 1
    steps = StatusTransition.objects.values_list("from_status", "to_status")
    assert list(steps)[-2:] == [("running", "validating"), ("validating", "failed")]


def test_batches_against_each_other(works, hall, alice, port):
    """Many moves and results in one request, sent five times at once, in two orders."""
    one = factories.enrolled(works, "one", site=hall, by=alice, slots=64)
    listing = Function.objects.get(name="list")
    with transaction.atomic():
        for number in range(60):
            start_function(factories.target(hall, f"Line {number}"), listing, by=alice)
    runs = web(one, port).claim(60)
    assert len(runs) == 60
    moving = [
        {name: run[name] for name in ("id", "attempt", "claim_id")} | {"status": "running"}
        for run in runs
    ]
    ending = [
        {"id": run["id"], "attempt": 1, "status": "completed", "message": "Done."} for run in runs
    ]
    senders = [web(one, port) for _ in range(6)]
    for method, path, name, items in (
        ("PATCH", "runs", "runs", moving),
        ("PUT", "results", "results", ending),
    ):
        before = StatusTransition.objects.count(), Event.objects.count()
        answers = at_once(
            [
                partial(api.request, method, path, {name: items[:: (-1) ** turn]})
                for turn, api in enumerate(senders)
            ]
        )
        assert {answer.status_code for answer in answers} == {200}
        for answer in answers:
            assert {item["code"] for item in answer.json()[name]} == {"ok"}
        assert StatusTransition.objects.count() - before[0] == 60
        assert Event.objects.count() - before[1] == 60
    assert check_runs(all_final=True) == 60
