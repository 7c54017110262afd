"""Decides what `manage.py test` runs: the suite on SQLite, beside it on PostgreSQL with Redis."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand

from config.supervisor import child_command

# What only PostgreSQL can show has its mark, and so has what does not depend on the database.
RUNS = {"SQLite": "not postgres", "PostgreSQL and Redis": "not browser and not once"}
# SQLite's is the longer run, by about this many processes for each core.
PROCESSES = {"SQLite": 1.5, "PostgreSQL and Redis": 1}
# Of the environment. Each run is told of its own servers. Without compiled modules each of some
# hundred processes compiles its own.
DROPPED = ("DATABASE_URL", "CELERY_BROKER_URL", "YARDMASTER_DATA", "PYTHONDONTWRITEBYTECODE")
NO_TESTS = 5  # pytest's exit code


class Command(BaseCommand):
    """Run pytest twice at once; every argument is pytest's."""

    help = "Run the tests on SQLite and on a throw-away PostgreSQL and Redis."

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        """Hand the arguments to pytest as they are, options included."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            sys.exit(run_both(argv[2:]))
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)


def run_both(arguments: list[str], *, what: str = "not soak") -> int:
    """Run the suite on both databases at once, show one after the other, and both summaries.

    `what` are the marks of the tests that are meant. Returns the first bad exit code.
    """
    from tests import servers

    try:
        servers.install_missing(print)
    except servers.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    runs: dict[str, subprocess.Popen[bytes]] = {}
    summaries, codes = {}, []
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="yardmaster-test-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        with tests_compiled():
            of_servers = {
                "DATABASE_URL": os.environ.get("DATABASE_URL")
                or stack.enter_context(servers.postgres()).url,
                "CELERY_BROKER_URL": os.environ.get("CELERY_BROKER_URL")
                or stack.enter_context(servers.redis()),
            }
        for number, (title, mark) in enumerate(RUNS.items()):
            environment = clean_environment() | {"YARDMASTER_DATA": str(folder / str(number))}
            if title != "SQLite":
                environment |= of_servers
            output = stack.enter_context((folder / f"{number}.txt").open("wb"))
            runs[title] = pytest(
                with_mark(arguments, f"{what} and {mark}"), environment, output, processes(title)
            )
            stack.callback(end, runs[title])
        for number, (title, process) in enumerate(runs.items()):
            print(f"\n{title}\n", flush=True)
            summaries[title] = show(folder / f"{number}.txt", process)
            codes.append(process.returncode)
    print()
    for title, summary in summaries.items():
        print(f"{title}:\n{summary}")
    if all(code == NO_TESTS for code in codes):
        return NO_TESTS
    return next((code for code in codes if code not in (0, NO_TESTS)), 0)


def clean_environment() -> dict[str, str]:
    """Give what the runs have of this process's environment, with the settings of tests."""
    kept = {key: value for key, value in os.environ.items() if key not in DROPPED}
    return kept | {"DJANGO_SETTINGS_MODULE": "config.settings.test"}


@contextmanager
def tests_compiled() -> Iterator[None]:
    """Let one process compile the tests of a fresh checkout: else each of a run would, all of them.

    It does so during the block, and has done at its end. What is wrong with them the runs will say.
    """
    if (settings.BASE_DIR / "tests/jobs/__pycache__").exists():
        yield
        return
    command = child_command([sys.executable, "-m", "pytest", "--collect-only", "-q"])
    process = subprocess.Popen(command, env=clean_environment(), stdout=DEVNULL, stderr=DEVNULL)
    yield
    process.wait()


def with_mark(arguments: list[str], mark: str) -> list[str]:
    """Add the run's mark to the arguments, to a mark expression that is there too."""
    if "-m" in arguments[:-1]:
        at = arguments.index("-m") + 1
        return [*arguments[:at], f"({arguments[at]}) and {mark}", *arguments[at + 1 :]]
    return ["-m", mark, *arguments]


def processes(title: str) -> int:
    """Say over how many processes a run is spread."""
    return int(min(os.cpu_count() or 2, 4) * PROCESSES[title])


def pytest(
    arguments: list[str], environment: dict[str, str], output: IO[bytes], processes: int
) -> subprocess.Popen[bytes]:
    """Start pytest, which writes what it says to `output`."""
    command = [sys.executable, "-m", "pytest"]
    if not any(word == "-n" or word.startswith(("-n=", "--numprocesses")) for word in arguments):
        # By file, since what a file's tests share is made once; in the order of tests/conftest.py.
        command += ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]
    if sys.stdout.isatty():
        command.append("--color=yes")
        environment = {"COLUMNS": str(shutil.get_terminal_size().columns), **environment}
    return subprocess.Popen(
        child_command([*command, *arguments]), env=environment, stdout=output, stderr=output
    )


def show(path: Path, process: subprocess.Popen[bytes]) -> str:
    """Print what a run says while it says it; return its last line, the summary."""
    tail = b""
    with path.open("rb") as said:
        while True:
            ended = process.poll() is not None
            if piece := said.read(65536):
                sys.stdout.buffer.write(piece)
                sys.stdout.flush()
                tail = (tail + piece)[-4000:]
            elif ended:
                return (tail.decode(errors="replace").strip().splitlines() or [""])[-1]
            else:
                time.sleep(0.2)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a run that is still at work: Ctrl-C reached pytest too, SIGTERM reached us alone."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
