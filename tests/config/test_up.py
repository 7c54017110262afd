"""`manage.py up` as a person meets it: what stops it, what it starts, what is left of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from django.core.management import call_command
from pytest_django import Settings

from config.supervisor import hold_lock
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(settings: Settings, tmp_path: Path) -> Path:
    """A data folder of its own."""
    settings.DATA_DIR = tmp_path
    return tmp_path


def free_port() -> int:
    """Return a port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refusal(**options: object) -> str:
    """Try to start and return the one line that says why not."""
    with pytest.raises(SystemExit) as end:
        call_command("up", **options)
    said = str(end.value.code)
    assert "\n" not in said
    return said


def test_taken_port_is_one_line_with_the_way_out(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refusal(port=port)
    assert said.startswith(f"Port {port} on 127.0.0.1 is taken.")
    assert "--port" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 70000}, "--port 70000 is not a port"),
        ({"port": -1}, "--port -1 is not a port"),
        ({"host": "no.such.host.invalid"}, "--host no.such.host.invalid is not an address"),
        ({"host": "192.0.2.1"}, "The portal cannot listen on 192.0.2.1, port 8000"),
    ],
)
def test_impossible_address_is_one_line(data: Path, options: dict[str, object], words: str) -> None:
    assert refusal(**options).startswith(words)


def test_second_up_is_one_line_that_names_the_first(data: Path) -> None:
    first = hold_lock(data / "up.lock")
    os.write(first, b"4711 http://127.0.0.1:8000")
    said = refusal(port=free_port())
    os.close(first)
    assert said.startswith(f"Yardmaster is already up on {data} (process 4711, http://127.0.0.1")
    assert "YARDMASTER_DATA" in said


def test_a_data_folder_that_cannot_be_written_is_one_line(settings: Settings) -> None:
    settings.DATA_DIR = Path("/proc")
    assert refusal(port=free_port()).startswith("The data folder /proc cannot be written: ")


class Up:
    """A started portal, with what it says gathered as it comes."""

    def __init__(self, data: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, str(PROJECT / "manage.py"), "up", "--port", str(port)],
            env={
                **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
                "YARDMASTER_DATA": str(data),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(self.process.stdout)
        self.process.stdout.close()

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def until(self, done: Callable[[], object]) -> None:
        """Wait for something that the portal's processes do."""

        def said_or_done() -> object:
            assert self.process.poll() is None, self.said
            return done()

        until(said_or_done, lambda: self.said)

    def children(self) -> dict[str, psutil.Process]:
        """Return the processes that it started, by what they are."""
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            for name, part in PARTS.items():
                if part in line:
                    found[name] = process
        return found

    def kill(self) -> None:
        """End `up` alone, the way nothing can prepare for."""
        self.process.kill()
        self.process.wait()
        self._reader.join()


PARTS = {
    "web": "-m uvicorn config.asgi",
    "worker": "-m celery",
    "agent": "-m yardmaster agent run",
    "guard": "supervisor.py guard",
}


@contextmanager
def up(data: Path) -> Iterator[Up]:
    """Start a portal on a free port and leave nothing of it."""
    portal = Up(data, free_port())
    try:
        portal.until(lambda: "Stop with:" in portal.said)
        yield portal
    finally:
        if portal.process.poll() is None:
            portal.process.terminate()
            portal.process.wait(PATIENCE_S)
        portal._reader.join()


def ask(portal: Up, path: str) -> int:
    """Return the status of a page."""
    try:
        with urllib.request.urlopen(f"{portal.url}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def gone(process: psutil.Process) -> bool:
    """Say whether a process has ended."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def replaced(portal: Up, name: str, before: psutil.Process) -> bool:
    """Say whether another process does now what this one did."""
    return portal.children().get(name, before) != before


@pytest.mark.faults
def test_one_command_to_a_portal_that_survives_its_parts_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with up(tmp_path) as portal:
        password = re.search(r"Password: +(\S+)", portal.said)
        assert password
        assert password[1] == (tmp_path / "admin-password").read_text().strip()
        assert (tmp_path / "admin-password").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "secret-key").stat().st_mode & 0o777 == 0o600
        portal.until(lambda: set(portal.children()) == set(PARTS))
        assert json.loads((tmp_path / "agent" / "config.json").read_text())["portal"] == portal.url

        for name in ("web", "worker", "agent", "guard"):
            before = portal.children()[name]
            before.kill()
            if name == "guard":  # it comes back with the next start of a child
                portal.children()["worker"].kill()
            portal.until(partial(replaced, portal, name, before))
        portal.until(lambda: ask(portal, "/accounts/login/") == 200)

        family = portal.children()
        assert set(family) == set(PARTS)
        portal.kill()
        until(lambda: all(map(gone, family.values())))

    with up(tmp_path) as again:
        assert password[1] in again.said
        again.until(lambda: set(again.children()) == set(PARTS))
        # It was enrolled on another port.
        assert json.loads((tmp_path / "agent" / "config.json").read_text())["portal"] == again.url
        family = again.children()
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(PATIENCE_S) == 0
        assert again.lines[-1] == "Stopped.\n"
        assert all(map(gone, family.values()))
