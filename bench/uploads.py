"""A large upload in chunks, and many slow ones beside quick requests: memory and waits.

`python -m bench.uploads [--megabytes 5120] [--slow 50]` serves the portal as production does, on
a PostgreSQL and in a folder that are thrown away. Memory is the largest resident set of any one
process of the server, of a second upload while others ask for lists; the goals are 150 MB, and a
p99 beside slow uploaders of at most 1.5 times that alone.
The slow ones come through nginx, which takes in whole requests before it passes them on, as in
docs/deploy; directly, each would keep one of the server's threads. Without nginx on the machine
they are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

CHUNK = 8 * 1024 * 1024
GOAL_MB = 150
# What a slow sender announces, and how much of it it sends how often.
ANNOUNCED, SENDS, EVERY_S = 1024 * 1024, 1024, 0.2
QUICK_S, TURNS = 4.0, 4
ASKERS = 4


class Memory(threading.Thread):
    """Watches the largest resident set among a process and its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.over = pid, 0, threading.Event()

    def run(self) -> None:
        import psutil

        while not self.over.wait(0.1):
            try:
                top = psutil.Process(self.pid)
                for one in (top, *top.children(recursive=True)):
                    self.peak = max(self.peak, one.memory_info().rss)
            except psutil.NoSuchProcess:
                continue

    @property
    def megabytes(self) -> int:
        """The peak so far."""
        return self.peak // 1024**2


class Door:
    """One kept connection of somebody with a token."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self.token = token

    def ask(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
        """Send one request and read its whole answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        self.connection.request(method, f"/api/v1/{path}", body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def upload(port: int, token: str, place: str, megabytes: int) -> tuple[float, str]:
    """Send a file of so many megabytes and close it: seconds, and its SHA-256."""
    import json

    door, digest = Door(port, token), hashlib.sha256()
    size, sent, began = megabytes * 1024**2, 0, time.monotonic()
    noise = os.urandom(CHUNK)
    while sent < size:
        piece = noise[: min(CHUNK, size - sent)]
        digest.update(piece)
        status, said = door.ask("PUT", f"{place}?offset={sent}", piece, "application/octet-stream")
        assert status == 200, said
        sent += len(piece)
    about = {
        "name": "large.bin",
        "media_type": "application/octet-stream",
        "size": size,
        "sha256": digest.hexdigest(),
    }
    status, said = door.ask("POST", place, json.dumps(about).encode(), "application/json")
    assert status == 201, said
    return time.monotonic() - began, digest.hexdigest()


def download(port: int, token: str, path: str) -> str:
    """Read a file back piece by piece and give its SHA-256."""
    door, digest = Door(port, token), hashlib.sha256()
    headers = {"Authorization": f"Bearer {token}"}
    door.connection.request("GET", f"/api/v1/{path}", headers=headers)
    answer = door.connection.getresponse()
    assert answer.status == 200, answer.read()
    while piece := answer.read(CHUNK):
        digest.update(piece)
    return digest.hexdigest()


NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 32m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_request_buffering on;
        }}
    }}
}}
"""


@contextmanager
def proxied(behind: int) -> Iterator[int]:
    """Run nginx in front of a port until the block ends; gives its own port."""
    from . import portal

    with tempfile.TemporaryDirectory(prefix="yardmaster-nginx-") as folder:
        os.chmod(folder, 0o755)
        port = portal.free_port()
        file = f"{folder}/nginx.conf"
        with open(file, "w") as text:
            text.write(NGINX.format(folder=folder, port=port, behind=behind))
        process = subprocess.Popen(["nginx", "-c", file, "-e", f"{folder}/error.log"])
        try:
            for _ in range(100):
                try:
                    socket.create_connection(("127.0.0.1", port), 0.2).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextmanager
def trickling(port: int, token: str, count: int) -> Iterator[None]:
    """Keep so many uploads open that send a little now and then."""
    senders = []
    for _ in range(count):
        sender = socket.create_connection(("127.0.0.1", port))
        sender.sendall(
            f"PUT /api/v1/uploads/{uuid4()}?offset=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {ANNOUNCED}\r\n\r\n".encode()
        )
        senders.append(sender)
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(EVERY_S):
            for sender in senders:
                try:
                    sender.send(b"\0" * SENDS)
                except OSError:
                    continue  # the portal has sent it away

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for sender in senders:
            sender.close()


@contextmanager
def asking(port: int, token: str) -> Iterator[None]:
    """Let others ask for lists meanwhile, without a pause."""
    over = threading.Event()

    def ask() -> None:
        door = Door(port, token)
        while not over.is_set():
            for path in ("runs", "jobs", "targets", "me"):
                status, said = door.ask("GET", path, b"", "")
                assert status == 200, said

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(ASKERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def quick(port: int, token: str) -> list[float]:
    """Ask small questions for a while and give each one's wait in ms."""
    door, waits, until = Door(port, token), [], time.monotonic() + QUICK_S
    while time.monotonic() < until:
        began = time.perf_counter()
        status, said = door.ask("GET", "me", b"", "")
        assert status == 200, said
        waits.append((time.perf_counter() - began) * 1000)
    return waits


def percentile(waits: list[float], percent: int) -> float:
    """Give the wait that so many percent are below."""
    return sorted(waits)[len(waits) * percent // 100]


def told(waits: list[float]) -> str:
    """Put waits into words."""
    return f"{len(waits)}, p50 {percentile(waits, 50):.1f} ms, p99 {percentile(waits, 99):.1f} ms"


def measure(megabytes: int, slow: int) -> None:
    """Build a small world, serve it, and print what was seen."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from agents.models import Function
    from tests import factories

    from . import portal, world

    call_command("migrate", interactive=False, verbosity=0)
    organization = factories.organization("Bench")
    alice = factories.member(organization, "alice", "administrator")
    site = factories.site(organization, "Hall")
    agent = factories.enrolled(organization, "agent", by=alice, site=site)
    job = factories.job(
        factories.target(site, "Press"),
        Function.objects.get(name="backup"),
        owner=alice,
        run_timeout_s=86_400,
    )
    factories.run(job, by=alice)
    held: dict[str, Any] = agent.api.claim()[0]
    agent.api.move(held, "running")
    token = factories.access_token(alice)
    connection.close()
    file = uuid4()
    place = f"agent/{agent.api.of(held, f'files/{file}')}"
    port = portal.free_port()
    with world.served(portal.arrangement(portal.GRANIAN, port), port) as server:
        memory = Memory(server.pid)
        memory.start()
        quick(port, token)
        print(f"memory of the largest process before the upload: {memory.megabytes} MB")
        seconds, sha256 = upload(port, agent.api.token, place, megabytes)
        print(f"{megabytes} MB up in {seconds:.0f} s, peak {memory.megabytes} MB ({GOAL_MB})")
        same = download(port, token, f"runs/{held['id']}/files/{file}/content") == sha256
        print(f"down again, {'the same' if same else 'OTHER'} bytes, peak {memory.megabytes} MB")
        with asking(port, token):
            another = f"agent/{agent.api.of(held, f'files/{uuid4()}')}"
            seconds, _ = upload(port, agent.api.token, another, megabytes // 5)
        print(
            f"{megabytes // 5} MB more in {seconds:.0f} s beside {ASKERS} who ask for lists,"
            f" peak {memory.megabytes} MB ({GOAL_MB})"
        )
        if slow and shutil.which("nginx"):
            with proxied(port) as front:
                quick(front, token)
                alone, beside = [], []
                # In turns, so that whatever else the machine does falls on both alike.
                for _ in range(TURNS):
                    alone += quick(front, token)
                    with trickling(front, token, slow):
                        beside += quick(front, token)
            print(f"through nginx alone: {told(alone)}")
            times = percentile(beside, 99) / percentile(alone, 99)
            print(f"beside {slow} slow uploads: {told(beside)}, {times:.1f} times (1.5)")
        memory.over.set()


def main() -> None:
    """Start again in a data folder of our own, and measure there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=5120)
    parser.add_argument("--slow", type=int, default=50, help="0 leaves them out")
    options = parser.parse_args()
    if os.environ.get("YARDMASTER_BENCH_UPLOADS"):
        measure(options.megabytes, options.slow)
        return
    from tests import servers

    with (
        servers.postgres(durable=True) as server,
        tempfile.TemporaryDirectory(prefix="yardmaster-bench-") as folder,
    ):
        environment = os.environ | {
            "YARDMASTER_BENCH_UPLOADS": "1",
            "YARDMASTER_DATA": folder,
            "DATABASE_URL": server.url,
            "DJANGO_SETTINGS_MODULE": "config.settings.production",
            "ALLOWED_HOSTS": "testserver",  # by which the world is built
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-m", "bench.uploads", *sys.argv[1:]]
        done = subprocess.run(command, env=environment)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
