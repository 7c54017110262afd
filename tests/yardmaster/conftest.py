"""An enrolled agent and its portal, as real processes and real HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.yardmaster.answers import TOKEN
from tests.yardmaster.portal import Portal
from yardmaster.agent import config

AgentProcess = subprocess.Popen[str]
StartAgent = Callable[..., AgentProcess]


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal()
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path, portal: Portal) -> Path:
    """The folder of an agent that is enrolled at the portal."""
    folder = tmp_path / "agent"
    config.make_folder(folder)
    config.write(
        folder, config.Config(portal=portal.url, agent="a", name="line 1", token=TOKEN, site=None)
    )
    return folder


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A folder worth backing up."""
    folder = tmp_path / "plant"
    (folder / "plc").mkdir(parents=True)
    (folder / "plc" / "main.st").write_text("PROGRAM main\n")
    (folder / "readme.txt").write_text("Line 1\n")
    return folder


@pytest.fixture
def start_agent(home: Path) -> Iterator[StartAgent]:
    """Start the agent program as a process; what is left at the end is killed."""
    started: list[AgentProcess] = []

    def start(*options: str) -> AgentProcess:
        process = subprocess.Popen(
            [sys.executable, "-m", "yardmaster", "agent", "run", "--dir", str(home), *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()
