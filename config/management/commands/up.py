"""Decides what runs on one machine, in which order it starts, and what the person there is told."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from config import demo, running
from config.supervisor import Supervisor, Taken, hold_lock

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

READY_WITHIN_S = 60
PYTHON = [sys.executable, "-W", "ignore", "-m"]


class Command(BaseCommand):
    """Start everything on this machine and stay until told to stop."""

    help = "Start the portal, its worker and an agent on this machine, with a demo to try."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer what differs between machines."""
        parser.add_argument("--port", type=int, default=8000, help="port of the portal (8000)")
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine)"
        )
        parser.add_argument(
            "--no-agent", action="store_true", help="start no agent on this machine"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, prepare, start; every reason not to start is one line."""
        host, port = options["host"], options["port"]
        lock, left_over = hold_locks(settings.DATA_DIR)
        check_port(host, port)
        public = os.environ.get("PUBLIC_URL") or f"http://{reachable_host(host)}:{port}"
        running.note(lock, public)

        try:
            migrate()
            collect_static(settings.DATA_DIR)
            demo.ensure_demo()
        except KeyboardInterrupt:
            sys.exit("Stopped. The next start goes on where this one was.")

        environment = {
            **os.environ,
            "PUBLIC_URL": public,
            "PYTHONUNBUFFERED": "1",
            "ALLOWED_HOSTS": ",".join(
                filter(None, [os.environ.get("ALLOWED_HOSTS"), *own_names(host)])
            ),
        }
        supervisor = Supervisor(folder=settings.BASE_DIR, inherited=[left_over])
        local = f"http://{loopback(host)}:{port}"
        steps = open_for_business(
            supervisor,
            environment,
            host=host,
            port=port,
            local=local,
            public=public,
            agent=not options["no_agent"],
        )
        failure = supervisor.run(steps)
        running.forget(lock)
        if failure:
            sys.exit(failure)
        print("Stopped.", flush=True)


def open_for_business(
    supervisor: Supervisor,
    environment: dict[str, str],
    *,
    host: str,
    port: int,
    local: str,
    public: str,
    agent: bool,
) -> Iterator[None]:
    """Start the children one after the other, yielding while one is waited for."""
    web = [*PYTHON, "uvicorn", "config.asgi:application", "--host", host, "--port", str(port)]
    web += ["--timeout-graceful-shutdown", "2", "--log-level", "warning", "--no-access-log"]
    web += ["--no-proxy-headers"]  # whose word counts is `TRUSTED_PROXIES`' to say
    portal = supervisor.start("web", web, env=environment)
    worker = [*PYTHON, "celery", "--quiet", "-A", "config", "worker", "-B", "--pool", "threads"]
    worker += ["--concurrency", "4", "--loglevel", "warning", "--without-gossip"]
    worker += ["--without-mingle", "--without-heartbeat"]
    supervisor.start("worker", worker, env=environment)

    deadline = time.monotonic() + READY_WITHIN_S
    while not answers(local):
        if time.monotonic() > deadline or portal.quick_ends == 5:
            supervisor.stop(f"The portal did not start at {local}; what it said is above.")
            return
        yield
    supervisor.say(greeting(public))
    if not agent:
        return

    folder = settings.DATA_DIR / "agent"
    program = [*PYTHON, "yardmaster", "agent"]
    enrolled = demo.enrolled_agent(folder)
    if enrolled is not None and enrolled.retired_at is not None:
        supervisor.say(
            f"The agent of this machine, “{enrolled}”, was retired, so none is started. "
            f"To enrol a new one, remove {folder} and start again."
        )
        return
    if enrolled is None:
        code = demo.enrolment_code()
        if code is None:
            return
        command = [*program, "enroll", f"{local}/a/{code}", "--dir", str(folder), "--replace"]
        child = supervisor.start("agent", command, env=environment, once=True)
        while child.process:
            yield
        if child.exit_code:
            supervisor.say(
                "The agent of this machine could not be enrolled; what it said is above. "
                "The portal goes on without it. Stop and start again to try once more."
            )
            return
    demo.point_agent(folder, local)
    # Its reports take 2 s beyond the grace, and all is to be stopped in less than 5.
    command = [*program, "run", "--dir", str(folder), "--grace", "0.5"]
    supervisor.start("agent", command, env=environment)
    while not demo.ensure_job():
        pause = time.monotonic() + 0.5
        while time.monotonic() < pause:
            yield


def hold_locks(data: Path) -> tuple[int, int]:
    """Lock the data folder, waiting a little for what a killed start has left.

    Returns two descriptors: the first is this process's own; the second is to be inherited by
    every child, so that it stays locked until the last of them is gone.
    """
    try:
        own = hold_lock(data / running.NAME)
    except Taken:
        other = running.noted(data)
        who = f" (process {other.process}, {other.url})" if other else ""
        sys.exit(
            f"Yardmaster is already up on {data}{who}. Stop that one with Ctrl-C, or set "
            "YARDMASTER_DATA to another folder for a second one."
        )
    except OSError as error:
        sys.exit(f"The data folder {data} cannot be written: {error.strerror}.")
    deadline = time.monotonic() + 10
    while True:
        try:
            return own, hold_lock(data / "up.children.lock")
        except Taken:
            if time.monotonic() > deadline:
                sys.exit(
                    f"Processes of an earlier start are still running on {data}. "
                    f"See them with: fuser -v {data / 'up.children.lock'}"
                )
            time.sleep(0.1)


def check_port(host: str, port: int) -> None:
    """End with one line when the portal could not listen there."""
    if not 0 < port < 65536:
        sys.exit(f"--port {port} is not a port: choose one from 1024 to 65535.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        sys.exit(f"--host {host} is not an address of this machine.")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(
                f"Port {port} on {host} is taken. Stop what uses it, or choose another: "
                f"python3 manage.py up --port {port + 1 if port < 65535 else 8000}"
            )
        sys.exit(f"The portal cannot listen on {host}, port {port}: {error.strerror}.")


def loopback(host: str) -> str:
    """Return the address at which this machine itself reaches what listens on `host`."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def reachable_host(host: str) -> str:
    """Return the address to tell people: of the machine itself when all of its are listened on."""
    if host not in ("0.0.0.0", "::", ""):
        return loopback(host)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent; it only chooses a route
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def own_names(host: str) -> list[str]:
    """Return the host names under which requests may come in."""
    if host in ("127.0.0.1", "localhost", "::1"):
        return []
    name = socket.gethostname()
    return [reachable_host(host), name, f"{name}.local"]


def answers(url: str) -> bool:
    """Say whether the portal serves, whatever it says."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{url}/accounts/login/", timeout=2
        )
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def migrate() -> None:
    """Bring the database to this version, if it is not there yet."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        print("Preparing the database …", flush=True)
        call_command("migrate", interactive=False, verbosity=0)
    else:
        # What `migrate` does besides: note what replaces the steps that this database has taken.
        executor.check_replacements()


def collect_static(data: Path) -> None:
    """Gather the files for browsers, if any has changed since the last time."""
    seen = hashlib.sha256(settings.STORAGES["staticfiles"]["BACKEND"].encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            found = os.stat(storage.path(name))
            seen.update(f"{storage.location} {name} {found.st_size} {found.st_mtime_ns}\n".encode())
    stamp = data / "static.json"
    now = {"files": seen.hexdigest()}
    try:
        if json.loads(stamp.read_text()) == now:
            return
    except (OSError, ValueError):
        pass
    print("Preparing the pages …", flush=True)
    stamp.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    stamp.write_text(json.dumps(now))


def greeting(public: str) -> str:
    """Return what the person is told once the portal answers."""
    user, password = demo.login()
    lines = [
        f"Yardmaster is up:  {public}",
        f"Log in as:         {user}",
        f"Password:          {password}",
        "Stop with:         Ctrl-C",
    ]
    width = max(map(len, lines)) + 2
    return "\n".join(
        [
            f"┌{'─' * (width + 2)}┐",
            *(f"│  {line:<{width}}│" for line in lines),
            f"└{'─' * (width + 2)}┘",
        ]
    )
