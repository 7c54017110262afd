"""The real agent program, killed or stopped at each step of a backup, against a real portal."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents import enrolment
from agents.models import Function
from jobs import sweeps
from jobs.models import JobRun, LateReport
from sites.models import Target
from tests import factories
from tests.faults.program import Program
from tests.invariants import check_runs
from tests.jobs.passing import lease_over
from tests.waiting import PATIENCE_S, until
from tests.web import portal

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults, pytest.mark.once]

# Where the agent is held up: before this request of it reaches the portal the run is …
STEPS = {
    "claimed": ("PATCH", r"/runs/[^/]+$", "running"),
    "running": ("POST", r"/snapshot$", ""),
    "uploading": ("POST", r"/snapshot/objects$", ""),
    "sealed": ("PUT", r"/result$", ""),
}
STATUS = {
    "claimed": "claimed",
    "running": "running",
    "uploading": "uploading",
    "sealed": "uploading",
}

# Headers that belong to one connection, not to the answer.
OF_ONE_HOP = {"content-length", "transfer-encoding", "connection", "server", "date"}


class Gate:
    """What stands between agent and portal: lets everything through but what a test holds up."""

    def __init__(self, upstream: int) -> None:
        self.hold: tuple[str, str, str] | None = None
        self.reached, self.open = threading.Event(), threading.Event()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if gate.holds(self.command, self.path, body):
                    gate.reached.set()
                    gate.open.wait(PATIENCE_S)
                there = http.client.HTTPConnection("127.0.0.1", upstream, timeout=PATIENCE_S)
                with (
                    contextlib.closing(there),
                    contextlib.suppress(OSError, http.client.HTTPException),
                ):
                    headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                    there.request(self.command, self.path, body, headers)
                    answer = there.getresponse()
                    if self.path.startswith("/live/"):
                        self.stream(answer)
                        return
                    data = answer.read()
                    self.send_response(answer.status)
                    for name, value in answer.getheaders():
                        if name.lower() not in OF_ONE_HOP:
                            self.send_header(name, value)
                    if answer.status != 204:
                        self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def stream(self, answer: http.client.HTTPResponse) -> None:
                self.close_connection = True
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                while data := answer.read1(8192):
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = pass_on  # noqa: N815 - their names there

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def holds(self, method: str, path: str, body: bytes) -> bool:
        if self.hold is None:
            return False
        wanted, pattern, word = self.hold
        return (
            method == wanted
            and re.search(pattern, path.partition("?")[0]) is not None
            and word.encode() in body
        )

    def hold_up(self, step: str) -> None:
        self.hold = STEPS[step]
        self.reached.clear()
        self.open.clear()

    def let_through(self) -> None:
        self.hold = None
        self.open.set()

    def close(self) -> None:
        self.let_through()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def portal_port(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[int]:
    """A real portal over the test database."""
    with (
        django_db_blocker.unblock(),
        portal(tmp_path_factory.mktemp("web") / "log", live=True) as number,
    ):
        yield number


@pytest.fixture
def gate(portal_port) -> Iterator[Gate]:
    made = Gate(portal_port)
    try:
        yield made
    finally:
        made.close()


class Scene:
    """A folder to back up, its job, and an agent that was enrolled with a pasted address."""

    def __init__(self, works, hall, alice, edda, gate: Gate, folder: Path) -> None:
        self.edda, self.gate = edda, gate
        self.files = folder / "plc"
        self.files.mkdir()
        self.write("A := 1;\n")
        _, code = enrolment.add_agent(works, name="hall-agent", site=hall, by=alice)
        self.program = Program(folder / "agent")
        self.program.enroll(f"http://127.0.0.1:{gate.port}/a/{code}")
        self.target = factories.target(hall, "Press line 1", address=str(self.files))
        backup = Function.objects.get(tool__name="folder", name="backup")
        self.job = factories.job(self.target, backup, owner=edda)

    def write(self, text: str) -> None:
        (self.files / "main.st").write_text(text)

    def accepted(self) -> Any:
        return Target.objects.get(pk=self.target.pk).accepted_snapshot

    def wait(self, done: Callable[[], bool]) -> None:
        until(done, lambda: (self.program.folder / "output").read_text()[-2000:])

    def back_up(self) -> JobRun:
        """Start a backup and wait for its end."""
        run = factories.run(self.job, by=self.edda)
        self.wait(lambda: JobRun.objects.get(pk=run.pk).finished_at is not None)
        return JobRun.objects.get(pk=run.pk)

    def reach(self, step: str) -> JobRun:
        """Start a backup, and hold the agent up at the step."""
        self.gate.hold_up(step)
        run = factories.run(self.job, by=self.edda)
        assert self.gate.reached.wait(PATIENCE_S), (self.program.folder / "output").read_text()
        run.refresh_from_db()
        assert run.status == STATUS[step]
        return run


@pytest.fixture
def scene(works, hall, alice, edda, gate, tmp_path) -> Iterator[Scene]:
    made = Scene(works, hall, alice, edda, gate, tmp_path)
    made.program.start()
    try:
        yield made
    finally:
        gate.let_through()
        made.program.kill()


def test_killed_and_given_up(scene):
    """Killed at each step, silent beyond its lease: what becomes of the run and of the next."""
    scene.program.kill()
    scene.program.start()
    first = scene.back_up()
    assert first.result == "modified"
    base = scene.accepted()
    for number, step in enumerate(STEPS):
        scene.write(f"A := {number + 2};\n")
        run = scene.reach(step)
        scene.program.kill()
        lease_over(run)
        assert sweeps.sweep() == 1
        run.refresh_from_db()
        expected = ("pending", "") if step == "claimed" else ("timed_out", "agent_lost")
        assert (run.status, run.reason) == expected
        scene.gate.let_through()
        # What the killed agent had on its way to the portal has no effect any more.
        assert scene.accepted() == base
        scene.program.start()
        if step == "claimed":
            # Not begun, so it is begun now, as a new attempt.
            scene.wait(lambda run=run: JobRun.objects.get(pk=run.pk).status == "completed")
            run.refresh_from_db()
            assert (run.attempt, run.result) == (2, "modified")
        else:
            later = scene.back_up()
            assert (later.result, later.base_snapshot) == ("modified", base)
            run.refresh_from_db()
            assert (run.status, run.reason) == expected
        base = scene.accepted()
        assert base == JobRun.objects.filter(status="completed").latest("finished_at").snapshot
    assert scene.back_up().result == "up_to_date"
    check_runs(all_final=True)


def test_killed_and_back_in_time(scene):
    """Started again within its lease: what had begun fails, what was done is reported."""
    expected = {
        "claimed": ("completed", "modified", ""),
        "running": ("failed", "", "agent_restarted"),
        "uploading": ("failed", "", "agent_restarted"),
        # The result was on the agent's disk before it was sent.
        "sealed": ("completed", "modified", ""),
    }
    for number, (step, ending) in enumerate(expected.items()):
        scene.write(f"A := {number + 2};\n")
        base = scene.accepted()
        run = scene.reach(step)
        scene.program.kill()
        # The held request is dropped with its sender: nothing of it may reach the portal.
        scene.gate.hold = None
        scene.program.start()
        scene.wait(lambda run=run: JobRun.objects.get(pk=run.pk).finished_at is not None)
        run.refresh_from_db()
        assert (run.status, run.result, run.reason) == ending, step
        assert run.attempt == 1
        assert (scene.accepted() == base) == (ending[0] == "failed")
        scene.gate.let_through()
    check_runs(all_final=True)


def test_stopped_and_continued(scene):
    """SIGSTOP beyond the lease, then SIGCONT: the agent learns it and changes nothing."""
    for number, step in enumerate(STEPS):
        scene.write(f"A := {number + 2};\n")
        base = scene.accepted()
        run = scene.reach(step)
        scene.program.signal(signal.SIGSTOP)
        lease_over(run)
        assert sweeps.sweep() == 1
        scene.gate.let_through()
        scene.program.signal(signal.SIGCONT)
        if step == "claimed":
            scene.wait(lambda run=run: JobRun.objects.get(pk=run.pk).status == "completed")
            run.refresh_from_db()
            assert run.attempt == 2
            continue
        run.refresh_from_db()
        assert (run.status, run.reason) == ("timed_out", "agent_lost")
        if step == "sealed":
            # Its result comes too late, and is kept beside.
            scene.wait(lambda run=run: LateReport.objects.filter(run=run).exists())
        later = scene.back_up()
        assert (later.result, later.base_snapshot) == ("modified", base)
        run.refresh_from_db()
        assert (run.status, run.reason) == ("timed_out", "agent_lost")
    check_runs(all_final=True)
