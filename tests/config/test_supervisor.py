"""The supervisor with real processes: started, shown, restarted, and gone with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import IO

import psutil
import pytest

from config.supervisor import Supervisor, Taken, hold_lock
from tests.waiting import until

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
# A process that starts another one in its own group, tells both ids, and ends for no SIGTERM.
STUBBORN_FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import signal, time;"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def supervising(folder: Path, body: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a program that has a supervisor, in a process of its own; give it and what it says."""
    path = folder / "outer.py"
    path.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from config.supervisor import Supervisor\n"
        f"family = [sys.executable, '-c', {STUBBORN_FAMILY!r}]\n"
        f"supervisor = Supervisor(folder=Path({str(folder)!r}), delay_s=0.01, stop_after_s=0.3)\n"
        + body
    )
    with subprocess.Popen(
        [sys.executable, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as outer:
        assert outer.stdout
        try:
            yield outer, outer.stdout
        finally:
            outer.kill()


def family(output: IO[str]) -> list[int]:
    """Read the process ids of a stubborn family from the supervisor's output."""
    return [int(word) for word in output.readline().split("|")[1].split()]


def gone(pid: int) -> bool:
    """Say whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.faults
def test_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    body = "supervisor.start('family', family)\nsupervisor.run()\n"
    with supervising(tmp_path, body) as (outer, output):
        pids = family(output)
        assert not any(map(gone, pids))
        outer.kill()
        until(lambda: all(map(gone, pids)))


@pytest.mark.faults
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_all_and_ends_what_will_not(tmp_path: Path, signum: int) -> None:
    body = "supervisor.start('family', family)\nsupervisor.run()\nprint('stopped')\n"
    with supervising(tmp_path, body) as (outer, output):
        pids = family(output)
        outer.send_signal(signum)
        assert output.read() == "stopped\n"
        assert outer.wait() == 0
        until(lambda: all(map(gone, pids)))


@pytest.mark.faults
def test_killed_child_is_started_again_and_takes_its_children_along(tmp_path: Path) -> None:
    output = StringIO()
    supervisor = Supervisor(folder=tmp_path, output=output, delay_s=0.01, stop_after_s=0.3)
    child = supervisor.start("family", [sys.executable, "-c", STUBBORN_FAMILY])

    def steps() -> Iterator[None]:
        while not child.lines:
            yield
        first, grandchild = map(int, child.lines[0].split())
        os.kill(first, signal.SIGKILL)
        while len(child.lines) < 2:
            yield
        assert int(child.lines[1].split()[0]) != first
        while not gone(grandchild):
            yield
        supervisor.stop()

    assert supervisor.run(steps()) == ""
    assert "family was ended by SIGKILL; it is started again" in output.getvalue()


def test_child_that_ends_at_once_is_reported_after_five_times(tmp_path: Path) -> None:
    output = StringIO()
    supervisor = Supervisor(folder=tmp_path, output=output, delay_s=0.01, stop_after_s=0.3)
    child = supervisor.start("broken", [sys.executable, "-S", "-c", "raise SystemExit('no key')"])

    def steps() -> Iterator[None]:
        while child.quick_ends < 5:
            yield
        supervisor.stop("It is broken.")

    assert supervisor.run(steps()) == "It is broken."
    said = output.getvalue()
    assert said.count("broken     | no key") == 5
    assert "broken ended 5 times right after its start, the last time it ended with" in said


def test_child_that_runs_once_is_not_started_again(tmp_path: Path) -> None:
    output = StringIO()
    supervisor = Supervisor(folder=tmp_path, output=output, delay_s=0.0, stop_after_s=0.3)
    child = supervisor.start(
        "once",
        [sys.executable, "-S", "-c", "print('a'); print('b', end=''); raise SystemExit(3)"],
        once=True,
    )

    def steps() -> Iterator[None]:
        while child.process:
            yield
        for _ in range(3):
            yield
        supervisor.stop()

    supervisor.run(steps())
    assert child.exit_code == 3
    assert child.lines == ["a", "b"]
    assert "started again" not in output.getvalue()


@pytest.mark.faults
def test_ended_guard_is_replaced_at_the_next_start(tmp_path: Path) -> None:
    body = (
        "first = supervisor.start('first', family)\n"
        "def steps():\n"
        "    while not first.lines:\n"
        "        yield\n"
        "    supervisor._guard.kill()\n"
        "    supervisor._guard.wait()\n"
        "    supervisor.start('second', family)\n"
        "supervisor.run(steps())\n"
    )
    with supervising(tmp_path, body) as (outer, output):
        pids = [*family(output), *family(output)]
        assert not any(map(gone, pids))
        outer.kill()
        until(lambda: all(map(gone, pids)))


def test_lock_is_held_until_the_last_child_is_gone(tmp_path: Path) -> None:
    descriptor = hold_lock(tmp_path / "lock")
    supervisor = Supervisor(
        folder=tmp_path, output=StringIO(), inherited=[descriptor], stop_after_s=0.3
    )
    child = supervisor.start("sleeper", [sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    os.close(descriptor)

    def steps() -> Iterator[None]:
        yield
        with pytest.raises(Taken):
            hold_lock(tmp_path / "lock")
        supervisor.stop()

    assert supervisor.run(steps()) == ""
    assert child.process is None
    os.close(hold_lock(tmp_path / "lock"))
