"""Decides how tests get a real portal over their own database, and how they speak to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from config.supervisor import child_command
from tests.config.live_process import database_url
from tests.factories import AgentAPI
from tests.waiting import PATIENCE_S, until

_open: list[http.client.HTTPConnection] = []


def hang_up() -> None:
    """Close every connection that was opened here."""
    while _open:
        _open.pop().close()


@dataclass
class Answer:
    """What a real portal answered."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    def __getitem__(self, name: str) -> str:
        return self.headers[name.lower()]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.headers


class WebAgent(AgentAPI):
    """The agent's side of the protocol over a real connection, which is kept open.

    One thread at a time; a connection that breaks raises OSError or HTTPException.
    """

    def __init__(self, token: str, port: int) -> None:
        self.token = token
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        _open.append(self.connection)

    def request(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json"
    ) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {})
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        address = path if path.startswith("/") else f"/api/v1/agent/{path}"
        self.connection.request(method, address, data, headers)
        answer = self.connection.getresponse()
        return Answer(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
        )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment() -> dict[str, str]:
    """The portal's settings, over the test's database and folders."""
    return os.environ | {
        "DATABASE_URL": database_url(),
        "YARDMASTER_DATA": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "config.settings.test",
        "PYTHONWARNINGS": "ignore",
    }


def command(port: int, *, live: bool) -> list[str]:
    """Two processes, which race more than one would; or, `live`, the one of `manage.py up`, which
    holds the waiting connections as well.
    """
    python = [sys.executable, "-m"]
    if not live:
        return [
            *python, "granian", "--interface", "wsgi", "config.wsgi:application", "--host",
            "127.0.0.1", "--port", str(port), "--workers", "2", "--blocking-threads", "8",
            "--http1-buffer-size", "65536", "--log-level", "warning",
        ]  # fmt: skip
    return [
        *python, "uvicorn", "config.asgi:application", "--host", "127.0.0.1", "--port", str(port),
        "--log-level", "warning", "--no-access-log", "--timeout-keep-alive", str(PATIENCE_S),
    ]  # fmt: skip


@contextmanager
def portal(log: Path, *, live: bool = False) -> Iterator[int]:
    """Run the portal on a free port for as long as the block lasts; gives the port."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            child_command(command(port, live=live)),
            cwd=settings.BASE_DIR,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until_up(port, lambda: process.poll() is None, log)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_up(port: int, alive: Callable[[], bool], log: Path) -> None:
    """Wait until the portal answers; raise with what it said when it does not."""
    caller = WebAgent("", port)

    def said() -> str:
        return f"The portal did not start: {log.read_text()[-3000:]}"

    def answers() -> bool:
        assert alive(), said()
        try:
            return caller.get("claims").status_code == 405
        except (OSError, http.client.HTTPException):
            caller.connection.close()
            return False

    until(answers, said)


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """Do all of it at the same moment, each in its own thread; give what each gave.

    An error of any is raised here, after all have ended.
    """
    start = threading.Barrier(len(acts))
    given: list[Any] = [None] * len(acts)
    errors: list[BaseException] = []

    def do(number: int, act: Callable[[], Any]) -> None:
        try:
            start.wait(PATIENCE_S)
            given[number] = act()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=do, args=(number, act), daemon=True)
        for number, act in enumerate(acts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return given
