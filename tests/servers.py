"""Decides how tests and benchmarks get a PostgreSQL and a Redis of their own, and lose them again.

Both are throw-away servers on Unix sockets in a temporary folder. They end with the process that
started them, even when that one is killed. A server that is already on the machine is never
touched, and neither are its clusters.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config.supervisor import child_command
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Program → Debian package.
PACKAGES = {
    "postgres": "postgresql",
    "initdb": "postgresql",
    "redis-server": "redis-server",
    "chromium": "chromium-headless-shell",
    "sshd": "openssh-server",
}
# The first has no windows to draw: half the work of the others.
CHROMIUM = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"]
# Neither flushes to disk nor what pays off in tables of millions of rows.
SPEED = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "jit": "off",
}


class Missing(Exception):
    """A program that the tests need is not on this machine; the message says what to install."""


@dataclass
class Postgres:
    """A running throw-away server."""

    url: str  # for Django and for libpq
    folder: Path
    process: subprocess.Popen[bytes]
    _start: Callable[[], subprocess.Popen[bytes]]

    def kill(self) -> None:
        """End the server the way a power cut does, with every process of it."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def start(self) -> None:
        """Start it again on the same data."""
        self.process = self._start()


def program(name: str) -> Path | None:
    """Return where a program is, PostgreSQL's server in Debian's folders included."""
    if name == "chromium":
        found = next(filter(None, map(shutil.which, CHROMIUM)), None)
        return Path(found) if found else None
    if found := shutil.which(name):
        return Path(found)
    if name == "sshd":
        # Not on the path of everybody, and it starts by its absolute path only.
        return next((path for path in [Path("/usr/sbin/sshd")] if path.exists()), None)
    versions = sorted(
        Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: float(path.parts[-2])
    )
    return next((path / name for path in reversed(versions) if (path / name).exists()), None)


def install_missing(say: Callable[[str], None]) -> None:
    """Install what the tests need and this machine lacks, or raise Missing with what to install."""
    lacking = [package for name, package in PACKAGES.items() if not program(name)]
    packages = list(dict.fromkeys(lacking))
    if not packages:
        return
    line = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(
            f"The tests need {', '.join(packages)}. Install what is missing and start again; "
            f"on Debian and Ubuntu: sudo {line}"
        )
    say(f"Installing {', '.join(packages)} for the tests …")
    with nothing_started():
        for command in ("apt-get update", line.replace("install", "install --yes", 1)):
            done = subprocess.run(
                command.split(),
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                text=True,
            )
            if done.returncode:
                words = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
                raise Missing(f"The tests need {', '.join(packages)}. `{command}`: {words[-1]}")


@contextmanager
def nothing_started() -> Iterator[None]:
    """Keep Debian's packages from starting servers and from making a PostgreSQL cluster."""
    policy = Path("/usr/sbin/policy-rc.d")
    cluster = Path("/etc/postgresql-common/createcluster.d/yardmaster.conf")
    ours = []
    if not policy.exists():
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        ours.append(policy)
    if not cluster.exists():
        cluster.parent.mkdir(parents=True, exist_ok=True)
        cluster.write_text("create_main_cluster = false\n")
        ours.append(cluster)
    try:
        yield
    finally:
        for path in ours:
            path.unlink(missing_ok=True)


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a PostgreSQL for as long as the block lasts.

    Without `durable` it skips every flush to disk: right for tests of behaviour, wrong for
    those that kill it and for measurements.
    """
    initdb, server = needed("initdb"), needed("postgres")
    user = unprivileged_user()
    with temporary_folder(user) as folder:
        data = folder / "data"
        command = [str(initdb), "-D", str(data), "-U", "yardmaster", "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            child_command(command, user=user), cwd=folder, capture_output=True, text=True
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr.strip()}")
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "max_connections": "200",
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "log_min_messages": "fatal",
        }
        if not durable:
            options |= SPEED
        settings = [f"--{name}={value}" for name, value in options.items()]

        def start() -> subprocess.Popen[bytes]:
            with (folder / "log").open("ab") as log:
                process = subprocess.Popen(
                    child_command(
                        [str(server), "-D", str(data), *settings], user=user, parting=signal.SIGQUIT
                    ),
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            wait_until(process, lambda: ready(data), "PostgreSQL", folder / "log")
            return process

        process = start()
        running = Postgres(f"postgres://yardmaster@/postgres?host={folder}", folder, process, start)
        try:
            yield running
        finally:
            # Its data is thrown away, so there is nothing to save.
            end(running.process, signal.SIGQUIT)


def ready(data: Path) -> bool:
    """Say whether the server has written that it accepts connections."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis without persistence for as long as the block lasts; yield its address."""
    server = needed("redis-server")
    with temporary_folder("") as folder:
        socket = folder / "redis.sock"
        command = [str(server), "--port", "0", "--unixsocket", str(socket), "--save", ""]
        command += ["--appendonly", "no", "--dir", str(folder), "--databases", "64"]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                child_command(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(process, socket.exists, "Redis", folder / "log")
            yield f"redis+socket://{socket}"
        finally:
            end(process, signal.SIGKILL)


def needed(name: str) -> Path:
    """Return where the program is, or raise Missing."""
    found = program(name)
    if not found:
        line = f"apt-get install {PACKAGES[name]}"
        raise Missing(f"{name} is not on this machine; on Debian: {line}")
    return found


def unprivileged_user() -> str:
    """Return the user that PostgreSQL runs as: empty for ourselves, which root may not be."""
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@contextmanager
def temporary_folder(user: str) -> Iterator[Path]:
    """Make a folder that the user may enter, and remove it with all that is in it."""
    # A socket's path may have 107 characters at most, so this one starts short.
    base = "/tmp" if os.access("/tmp", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="yardmaster-", dir=base))
    try:
        if user:
            shutil.chown(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(
    process: subprocess.Popen[bytes], done: Callable[[], bool], name: str, log: Path
) -> None:
    """Wait for a server, and raise what it logged when it does not come up."""
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            end(process, signal.SIGKILL)
            raise RuntimeError(f"{name} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes], signum: int) -> None:
    """Stop a server and all its processes, and wait until it is gone."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
