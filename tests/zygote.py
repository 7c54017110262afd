"""Processes of ours that are there at once: Django is loaded in one, and they are its forks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from config.supervisor import child_command
from tests.waiting import until
from tests.web import environment


class Zygote:
    """A zygote over the test's own database; what it has forked ends with it."""

    def __init__(self, log: Path, *modules: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                child_command([sys.executable, "-m", "tests.forking", *modules]),
                cwd=settings.BASE_DIR,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def fork(self, function: str, *arguments: object) -> Fork:
        """Let a process of its own call `module:function`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(function, *arguments, file=self.process.stdin, flush=True)
        number = self.process.stdout.readline()
        assert number, self.log.read_text()[-3000:]
        return Fork(int(number))

    def close(self) -> None:
        """End it with all that it has forked."""
        self.process.terminate()
        self.process.communicate()


class Fork:
    """One forked process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.killed = False

    def lives(self) -> bool:
        """Say whether it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False

    def kill(self) -> None:
        """End it as a power cut does, and wait until it is gone; then its number is another's."""
        if self.killed:
            return
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.lives())


# Starts so many forks that do one thing again and again (fixture `processes`).
Processes = Callable[[str, int], list[Fork]]
