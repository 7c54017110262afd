"""What was answered 2xx is there after kill -9 of the web process, again and again (I2)."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.storage import default_storage
from django.db import connection, transaction

from agents.models import Function
from jobs import evidence
from jobs.models import Claim, JobRun, RunFile, RunRecord, StatusTransition
from jobs.starts import start_function
from sites import vault
from sites.models import Snapshot
from tests import factories
from tests.backups import send
from tests.invariants import check_files, check_runs
from tests.waiting import PATIENCE_S
from tests.web import WebAgent, free_port, hang_up, wait_until_up
from tests.zygote import Zygote

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
WEB = "tests.faults.forked_web"
ROUNDS = 12
AGENTS = 4


class Portal:
    """A web process that can be killed and is up again at once."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.log = log
        self.zygote = Zygote(log, WEB)

    def start(self) -> None:
        self.web = self.zygote.fork(f"{WEB}:serve", self.port)
        wait_until_up(self.port, self.web.lives, self.log)

    def kill(self) -> None:
        self.web.kill()


@pytest.fixture
def portal(tmp_path) -> Iterator[Portal]:
    made = Portal(tmp_path / "log")
    try:
        yield made
    finally:
        made.zygote.close()
        hang_up()


class Worker(threading.Thread):
    """An agent that works until the portal is gone, and notes what was acknowledged."""

    def __init__(
        self,
        one: factories.Enrolled,
        port: int,
        unfinished: UUID | None,
        heard: threading.Semaphore,
    ) -> None:
        super().__init__(daemon=True)
        self.heard = heard
        self.one, self.api = one, WebAgent(one.api.token, port)
        self.claim_id = unfinished or uuid4()
        self.ended = False
        self.acked: list[tuple[str, str, object]] = []
        self.odd: list[object] = []

    def run(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                self.ended = False
                self.one_run()
                self.ended = True
                self.claim_id = uuid4()

    def note(self, kind: str, run: str, what: object, answer: object) -> bool:
        status = getattr(answer, "status_code", 0)
        if status in (200, 201):
            self.acked.append((kind, run, what))
            self.heard.release()
            return True
        self.odd.append((kind, status, getattr(answer, "content", b"")[:300]))
        return False

    def one_run(self) -> None:
        answer = self.api.post("claims", {"claim_id": str(self.claim_id), "max": 1})
        if answer.status_code == 204:
            time.sleep(0.01)
            return
        [run] = answer.json()["runs"]
        pk = run["id"]
        self.note("claim", pk, (str(self.claim_id), run["attempt"]), answer)
        if run["status"] == "claimed":
            self.note("move", pk, "running", self.api.move(run, "running"))
        elif run["status"] != "running":
            # Its end was stored before the kill, and the answer lost.
            return
        of = self.api.of
        # What the earlier process had of the log is asked for, as an agent does.
        offset = self.api.post(of(run, "log"), {"offset": 2**40, "text": "?"}).json()["length"]
        text = f"line at {offset}\n"
        logged = self.api.post(of(run, "log"), {"offset": offset, "text": text})
        self.note("log", pk, (offset, text), logged)
        rows = [{"sequence": n, "status": "success"} for n in range(20)]
        self.note("records", pk, 20, self.api.post(of(run, "records"), {"records": rows}))
        file, data = uuid4(), random.randbytes(20_000)
        path = of(run, f"files/{file}")
        self.api.put(f"{path}?offset=0", data, kind="application/octet-stream")
        about = {"name": "f", "media_type": "a/b", "size": len(data)}
        about["sha256"] = hashlib.sha256(data).hexdigest()
        self.note("file", pk, (str(file), data), self.api.post(path, about))
        if run["function"] == "backup":
            sealed = send(self.api, run, {"a.txt": pk.encode(), "b/c.txt": b"same"})
            self.acked.append(("seal", pk, sealed["commit"]))
        self.note("result", pk, "completed", self.api.finish(run))


def check_acknowledged(kind: str, pk: str, what: Any) -> None:
    """See that what was answered 2xx is stored, and readable."""
    run = JobRun.objects.get(public_id=pk)
    match kind, what:
        case "claim", (claim_id, attempt):
            claim = Claim.objects.get(claim_id=claim_id)
            assert [run.pk, attempt] in claim.runs
        case "move", status:
            assert StatusTransition.objects.filter(run=run, to_status=status).count() == 1
        case "log", (int(offset), str(text)):
            assert run.log_length >= offset + len(text)
            assert text in evidence.log_of(run, offset=offset)[0]
        case "records", count:
            assert RunRecord.objects.filter(run=run).count() == count
        case "file", (file, data):
            row = RunFile.objects.get(run=run, public_id=file)
            with default_storage.open(row.storage_name) as stored:
                assert stored.read() == data
        case "seal", str(commit):
            snapshot = Snapshot.objects.get(commit_id=commit, target=run.target)
            paths = {one.path for one in vault.walk(snapshot.target.public_id, commit)}
            assert paths == {"a.txt", "b/c.txt"}
        case "result", status:
            assert run.status == status
            assert run.report_hash


def test_what_was_answered_is_there_after_kill_9(works, hall, alice, portal):
    """Agents work while the web process is killed twelve times, then carry on where they were."""
    functions = []
    with transaction.atomic():
        agents = [
            factories.enrolled(works, f"agent {n}", site=hall, by=alice) for n in range(AGENTS)
        ]
        functions = [Function.objects.get(name=name) for name in ("list", "backup")]
    chance = random.Random(2)
    unfinished: dict[str, UUID | None] = dict.fromkeys((one.agent.name for one in agents), None)
    acked: list[tuple[str, str, object]] = []
    made = 0
    for _ in range(ROUNDS):
        with transaction.atomic():
            for _ in range(8):
                made += 1
                target = factories.target(hall, f"Line {made}")
                start_function(target, functions[made % 2], by=alice)
        portal.start()
        heard = threading.Semaphore(0)
        workers = [Worker(one, portal.port, unfinished[one.agent.name], heard) for one in agents]
        for worker in workers:
            worker.start()
        # In the middle of whatever the others are at.
        for _ in range(chance.randint(1, 30)):
            assert heard.acquire(timeout=PATIENCE_S)
        portal.kill()
        for worker in workers:
            worker.join()
            assert worker.odd == []
            unfinished[worker.one.agent.name] = None if worker.ended else worker.claim_id
            acked += worker.acked
        for fact in (fact for worker in workers for fact in worker.acked):
            check_acknowledged(*fact)
        if connection.vendor == "sqlite":
            check_integrity()
    assert len(acked) > 10 * ROUNDS
    assert {kind for kind, _, _ in acked} == {
        "claim", "move", "log", "records", "file", "seal", "result",
    }  # fmt: skip
    # All of it still, after the last.
    for fact in acked:
        check_acknowledged(*fact)
    check_runs()
    check_files()


def check_integrity() -> None:
    """Let SQLite read every page, through a connection of its own, which also replays the WAL."""
    with contextlib.closing(sqlite3.connect(str(connection.settings_dict["NAME"]))) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
