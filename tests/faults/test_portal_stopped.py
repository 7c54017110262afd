"""The portal's web process stopped, and killed, for longer than a lease, while agents live."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from agents import enrolment
from agents.models import Function
from config.supervisor import child_command
from jobs import sweeps
from jobs.models import JobRun
from jobs.starts import start_function
from sites.models import Event, Pulse
from tests import factories
from tests.faults import hurried
from tests.faults.program import Program
from tests.invariants import check_runs
from tests.waiting import until
from tests.web import WebAgent, environment, free_port, hang_up, wait_until_up

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
AGENTS = 4
# Longer than a lease with all its graces.
AWAY_S = hurried.LEASE_S + hurried.GRACE_S + 3
BROKEN = (OSError, http.client.HTTPException)


class Web:
    """The web process, which notes that it serves."""

    def __init__(self, log: Path) -> None:
        self.port, self.log = free_port(), log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", "tests.faults.hurried:application"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--no-access-log"]
        with self.log.open("ab") as output:
            self.process = started = subprocess.Popen(
                child_command(command),
                cwd=settings.BASE_DIR,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until_up(self.port, lambda: started.poll() is None, self.log)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Sweeps(threading.Thread):
    """The worker's sweeps, one after the other, which go on all the while."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ending = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.ending.wait(0.5):
                sweeps.sweep()
        except BaseException as error:
            self.error = error
        finally:
            connection.close()

    def end(self) -> None:
        self.ending.set()
        if self.is_alive():
            self.join()


class Living(threading.Thread):
    """An agent at work: it beats whatever comes of it, until it is told to be done or silent."""

    def __init__(self, one: factories.Enrolled, port: int) -> None:
        super().__init__(daemon=True)
        self.api = WebAgent(one.api.token, port)
        self.api.connection.timeout = 2
        [self.held] = self.api.claim()
        assert self.api.move(self.held, "running").status_code == 200
        self.done, self.silent = threading.Event(), threading.Event()
        self.heard: list[str] = []

    def run(self) -> None:
        line = {name: self.held[name] for name in ("id", "attempt", "claim_id")}
        while not self.silent.is_set():
            try:
                if self.done.is_set():
                    self.heard.append(str(self.api.finish(self.held).status_code))
                    return
                [answer] = self.api.post("heartbeat", {"runs": [line]}).json()["runs"]
                self.heard.append(answer["code"])
            except BROKEN:
                self.api.connection.close()
            time.sleep(hurried.HEARTBEAT_S)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    hurried.hurry(monkeypatch.setattr)
    made = Web(tmp_path / "log")
    made.start()
    try:
        yield made
    finally:
        made.kill()
        hang_up()


@pytest.fixture
def sweeping() -> Iterator[Sweeps]:
    made = Sweeps()
    try:
        yield made
    finally:
        made.end()


def noted() -> object:
    return Pulse.objects.filter(name="serving").values_list("noted_at", flat=True).first()


def came_back() -> object:
    return Pulse.objects.filter(name="serving").values_list("resumed_at", flat=True).first()


@pytest.fixture
def program(works, hall, alice, web, tmp_path) -> Iterator[Program]:
    """The real agent program, with a command that lasts until there is a file `done`."""
    _, code = enrolment.add_agent(works, name="the program", site=hall, by=alice)
    made = Program(tmp_path / "agent")
    made.enroll(f"http://127.0.0.1:{web.port}/a/{code}")
    waits = f"echo begun >> {tmp_path}/begun; while [ ! -e {tmp_path}/done ]; do sleep 0.1; done"
    own = made.folder / "agent.toml"
    own.write_text(f'[commands.wait]\nrun = ["/bin/sh", "-c", "{waits}"]\n')
    own.chmod(0o600)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_no_run_is_lost_by_a_portal_that_was_away(
    works, hall, alice, web, sweeping, program, tmp_path, how
):
    until(lambda: Function.objects.filter(tool__name="command").exists())
    command = Function.objects.get(tool__name="command")
    of_program = start_function(
        factories.target(hall, "Line of the program"),
        command,
        by=alice,
        parameters={"command": "wait"},
    )
    until((tmp_path / "begun").exists)
    listing = None
    agents = []
    for number in range(AGENTS):
        one = factories.enrolled(works, f"agent {number}", site=hall, by=alice)
        listing = listing or Function.objects.get(name="list")
        start_function(factories.target(hall, f"Line {number}"), listing, by=alice)
        agents.append(Living(one, web.port))
    sweeping.start()
    for each in agents:
        each.start()
    until(noted)
    until(lambda: all("ok" in each.heard for each in agents))
    if how == "stopped":
        web.signal(signal.SIGSTOP)
    else:
        web.kill()
    time.sleep(AWAY_S)
    # While it is away too: the sweeps go on, all leases are over, and nobody is given up.
    assert set(JobRun.objects.values_list("status", flat=True)) == {"running"}
    if how == "stopped":
        web.signal(signal.SIGCONT)
    else:
        web.start()
    until(came_back)
    for each in agents:
        each.heard.clear()
    until(
        lambda: all(len(each.heard) > 3 for each in agents), lambda: str([a.heard for a in agents])
    )
    assert {code for each in agents for code in each.heard} == {"ok"}
    assert set(JobRun.objects.values_list("status", flat=True)) == {"running"}
    # All but one are done. That one falls silent now, and is lost as ever.
    (tmp_path / "done").touch()
    for each in agents[1:]:
        each.done.set()
    agents[0].silent.set()
    for each in agents:
        each.join()
    until(lambda: not JobRun.objects.filter(finished_at=None).exists())
    sweeping.end()
    assert sweeping.error is None
    of_program.refresh_from_db()
    assert (of_program.status, of_program.attempt) == ("completed", 1)
    assert (tmp_path / "begun").read_text() == "begun\n"
    ends = JobRun.objects.exclude(pk=of_program.pk).order_by("id").values_list("status", "reason")
    assert list(ends) == [("timed_out", "agent_lost"), *[("completed", "")] * (AGENTS - 1)]
    assert not Event.objects.filter(kind="portal.mass_loss").exists()
    check_runs(all_final=True)
