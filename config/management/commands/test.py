"""Decides what `manage.py test` runs: the suite on SQLite, then on PostgreSQL with Redis."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from django.core.management.base import BaseCommand

from config.supervisor import child_command

# What only PostgreSQL can show has its mark, and so has what does not depend on the database.
RUNS = {"SQLite": "not postgres", "PostgreSQL and Redis": "not browser and not once"}
NO_TESTS = 5  # pytest's exit code


class Command(BaseCommand):
    """Run pytest twice; every argument is pytest's."""

    help = "Run the tests on SQLite and on a throw-away PostgreSQL and Redis."

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        """Hand the arguments to pytest as they are, options included."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            sys.exit(run_both(argv[2:]))
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)


def run_both(arguments: list[str]) -> int:
    """Run the suite on both databases, print both summaries, return the first bad exit code."""
    from tests import servers

    try:
        servers.install_missing(print)
    except servers.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    summaries = {}
    codes = []
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="yardmaster-test-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for number, (title, mark) in enumerate(RUNS.items()):
            print(f"\n{title}\n", flush=True)
            environment = {
                key: value
                for key, value in os.environ.items()
                if key not in ("DATABASE_URL", "CELERY_BROKER_URL")
            }
            environment["DJANGO_SETTINGS_MODULE"] = "config.settings.test"
            environment["YARDMASTER_DATA"] = str(folder / str(number))
            if title != "SQLite":
                environment["DATABASE_URL"] = (
                    os.environ.get("DATABASE_URL") or stack.enter_context(servers.postgres()).url
                )
                environment["CELERY_BROKER_URL"] = os.environ.get(
                    "CELERY_BROKER_URL"
                ) or stack.enter_context(servers.redis())
            code, summaries[title] = pytest(with_mark(arguments, mark), environment)
            codes.append(code)
    print()
    for title, summary in summaries.items():
        print(f"{title}:\n{summary}")
    if all(code == NO_TESTS for code in codes):
        return NO_TESTS
    return next((code for code in codes if code not in (0, NO_TESTS)), 0)


def with_mark(arguments: list[str], mark: str) -> list[str]:
    """Add the run's mark to the arguments, to a mark expression that is there too."""
    if "-m" in arguments[:-1]:
        at = arguments.index("-m") + 1
        return [*arguments[:at], f"({arguments[at]}) and {mark}", *arguments[at + 1 :]]
    return ["-m", mark, *arguments]


def pytest(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run pytest, showing what it says, and return its exit code and its summary line."""
    command = [sys.executable, "-m", "pytest"]
    if not any(word == "-n" or word.startswith(("-n=", "--numprocesses")) for word in arguments):
        # Twice the cores: much of the suite waits for the processes and browsers that it starts.
        command += ["-n", str(min(2 * (os.cpu_count() or 2), 8)), "--dist", "worksteal"]
    if sys.stdout.isatty():
        command.append("--color=yes")
        environment = {"COLUMNS": str(shutil.get_terminal_size().columns), **environment}
    process = subprocess.Popen(
        child_command([*command, *arguments]), env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    tail = b""
    try:
        while piece := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            tail = (tail + piece)[-4000:]
        return process.wait(), (tail.decode(errors="replace").strip().splitlines() or [""])[-1]
    except BaseException:
        # Ctrl-C reached pytest too; it then ends what it started. SIGTERM reached us alone.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
