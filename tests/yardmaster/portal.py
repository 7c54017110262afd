"""The other side of the agent protocol, in memory, for tests of the agent alone.

It speaks real HTTP from a thread, keeps what it was told, and can be made to answer badly.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.waiting import PATIENCE_S
from tests.yardmaster.answers import Answers, Problem, Run


@dataclass
class Rule:
    """A bad answer: for requests that match, `times` times (None: until it is removed)."""

    pattern: str
    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    times: int | None
    after: bool


class Portal(Answers):
    """An in-memory portal; its attributes may be read and changed by the test at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition(self.lock)
        self.bodies: list[bytes] = []
        self.rules: list[Rule] = []
        self.live = False
        self.hints = threading.Event()
        portal = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                portal.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # an agent that was killed in the middle of a request

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self.thread.start()

    def close(self) -> None:
        self.hints.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # What a test says and asks.

    def add(self, target: object, **fields: Any) -> Run:
        with self.changed:
            run = Run(str(target), **fields)
            self.runs[run.id] = run
            self.changed.notify_all()
            return run

    def fail(
        self,
        pattern: str,
        status: int,
        *,
        times: int | None = 1,
        after: bool = False,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Rule:
        """Answer requests whose "METHOD path" matches with a status; 0 drops the connection.

        `after` carries the request out first, as when only its answer is lost.
        """
        rule = Rule(pattern, status, body, headers or {}, times, after)
        with self.lock:
            self.rules.append(rule)
        return rule

    def unfail(self, rule: Rule) -> None:
        with self.lock:
            self.rules.remove(rule)

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait until something is so, or fail the test."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S), "waited in vain"
            return condition()

    # HTTP.

    def handle(self, http: BaseHTTPRequestHandler) -> None:
        address = urlsplit(http.path)
        raw = http.rfile.read(int(http.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        method, path = str(http.command), address.path
        if path == "/live/agent" and self.live:
            self.stream(http)
            return
        try:
            with self.changed:
                self.requests.append((method, path, body))
                self.bodies.append(raw)
                rule = next(
                    (r for r in self.rules if re.search(r.pattern, f"{method} {path}")), None
                )
                if rule is not None and rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self.rules.remove(rule)
                self.changed.notify_all()
                if rule is None or rule.after:
                    query = {k: v[0] for k, v in parse_qs(address.query).items()}
                    status, answer = self.act(http, method, path, query, body, raw)
                    self.changed.notify_all()
                if rule is not None:
                    status, answer = rule.status, {"code": "", "title": "Made to fail", **rule.body}
        except Problem as problem:
            status, answer, rule = problem.status, problem.body, None
        if status == 0:
            http.close_connection = True
            http.connection.close()
            return
        data = json.dumps(answer).encode() if status != 204 else b""
        http.send_response(status)
        kind = "application/json" if status < 400 else "application/problem+json"
        http.send_header("Content-Type", kind)
        http.send_header("Content-Length", str(len(data)))
        for name, value in (rule.headers if rule else {}).items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(data)

    def stream(self, http: BaseHTTPRequestHandler) -> None:
        with self.changed:
            self.requests.append(("GET", "/live/agent", {}))
            self.changed.notify_all()
        http.send_response(200)
        http.send_header("Content-Type", "text/event-stream")
        http.send_header("Connection", "close")
        http.end_headers()
        http.wfile.write(b": hello\n\n")
        self.hints.wait(PATIENCE_S)
        self.hints.clear()
        http.wfile.write(b"event: work\ndata: {}\n\n")
        http.close_connection = True
