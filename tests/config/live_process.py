"""A real live process over the test's database, and clients that listen to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.test import Client

from config.supervisor import child_command
from sites.models import User
from tests.waiting import PATIENCE_S, until


def database_url() -> str:
    """The test's own database, for another process."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    host = settings["HOST"] or settings["OPTIONS"].get("host", "")
    password = f":{settings['PASSWORD']}" if settings["PASSWORD"] else ""
    port = f":{settings['PORT']}" if settings["PORT"] else ""
    if host.startswith("/"):
        return f"postgres://{settings['USER']}{password}@/{settings['NAME']}?host={host}"
    return f"postgres://{settings['USER']}{password}@{host}{port}/{settings['NAME']}"


@dataclass
class Answer:
    """One open answer of the live process."""

    raw: http.client.HTTPResponse
    connection: http.client.HTTPConnection

    def line(self) -> str | None:
        """Read the next line that is not empty; None at the end of the stream."""
        while True:
            line = self.raw.readline()
            if not line:
                return None
            if line.strip():
                return line.decode().strip()

    def message(self) -> tuple[str, dict[str, Any]] | None:
        """Read the next message, past all comments; None at the end of the stream."""
        kind = ""
        while (line := self.line()) is not None:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return kind, json.loads(line.removeprefix("data: "))
        return None

    def until(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Read the messages that come before the next one of this kind."""
        heard: list[tuple[str, dict[str, Any]]] = []
        while (message := self.message()) is not None:
            if message[0] == kind:
                return heard
            heard.append(message)
        raise AssertionError(f"The stream ended before {kind}; it said {heard}.")

    def rest(self) -> str:
        """Read to the end of the stream."""
        return self.raw.read().decode()

    def close(self) -> None:
        self.raw.close()
        self.connection.close()


@dataclass
class LiveProcess:
    """A running process."""

    port: int
    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    open: list[Answer] = field(default_factory=list)
    asked: int = 0
    reader: threading.Thread | None = None

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Send a request, and return once its answer has begun."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        client.request(method, path, headers=headers)
        self.asked += 1
        answer = Answer(client.getresponse(), client)
        self.open.append(answer)
        return answer

    def agent(self, token: str) -> Answer:
        """Wait for work as an agent."""
        answer = self.get("/live/agent", Authorization=f"Bearer {token}")
        assert answer.raw.status == 200, answer.raw.read()
        return answer

    def page(self, user: User, query: str = "") -> Answer:
        """Listen as a person who is logged in to the portal."""
        answer = self.get(f"/live/events{query}", Cookie=session_cookie(user))
        assert answer.raw.status == 200, answer.raw.read()
        return answer

    def connections(self, **of: Any) -> list[dict[str, Any]]:
        """What was logged of connections so far; all of it once the process has ended."""
        said = [json.loads(line) for line in self.output if line.startswith("{")]
        return [
            line for line in said if line["event"] == "connection" and of.items() <= line.items()
        ]

    def endings(self, number: int, **of: Any) -> list[str]:
        """Why connections of somebody ended, once so many have: the log comes after the end."""
        until(lambda: len(self.connections(**of)) >= number, lambda: str(self.connections(**of)))
        return [line["ended"] for line in self.connections(**of)]

    def ended(self) -> int:
        """Wait for its end and for its last words, and give the exit code."""
        code = self.process.wait(PATIENCE_S)
        if self.reader:
            self.reader.join(PATIENCE_S)
        return code

    def hang_up(self) -> None:
        """Close every answer, as a client that goes away does."""
        while self.open:
            self.open.pop().close()


def session_cookie(user: User) -> str:
    """Log a person in, and give the cookie that their browser would send."""
    browser = Client()
    browser.force_login(user)
    return f"sessionid={browser.cookies['sessionid'].value}"


@contextmanager
def live_process(
    application: str = "live", *, database: str = "", proxies: int = 0, **intervals: float
) -> Iterator[LiveProcess]:
    """Run `uvicorn config.asgi:<application>` for as long as the block lasts."""
    command = [sys.executable, "-m", "uvicorn", f"config.asgi:{application}", "--port", "0"]
    command += ["--timeout-graceful-shutdown", "2", "--no-access-log"]
    command += ["--no-proxy-headers"]  # as every installation starts it
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.config.live_settings",
        "DATABASE_URL": database or database_url(),
        "LIVE": json.dumps(intervals),
        "LOG_FORMAT": "json",
        "TRUSTED_PROXIES": str(proxies),
    }
    process = subprocess.Popen(
        child_command(command), env=environment, stderr=subprocess.PIPE, text=True
    )
    running = LiveProcess(0, process)
    try:
        assert process.stderr
        for line in process.stderr:
            running.output.append(line)
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                running.port = int(found[1])
                break
        assert running.port, "".join(running.output)
        running.reader = threading.Thread(
            target=lambda: running.output.extend(process.stderr or [])
        )
        running.reader.start()
        yield running
    finally:
        running.hang_up()
        process.terminate()
        running.ended()
        if process.stderr:
            process.stderr.close()
