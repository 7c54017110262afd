"""A tool of the machine's owner in the agent's process: what it says arrives, and it is stopped."""

import signal
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S
from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal

pytestmark = [pytest.mark.once, pytest.mark.faults]

TOOL = '''
import time
from pathlib import Path
from threading import Event

from yardmaster.sdk import Context, Failed, function, tool


@tool(name="bench", version="1.0")
class Bench:
    @function(credentials=True)
    def measure(self, context: Context, count: int) -> str:
        """Measure."""
        for number in range(count):
            context.record("skipped" if number == 0 else "success", name=f"part {number}")
        with context.temporary_folder() as folder:
            (folder / "big.bin").write_bytes(bytes(2_500_000))
            context.artifact(folder / "big.bin")
        context.artifact(b"", name="empty.txt", media_type="text/plain")
        context.log(f"as {context.credentials['username']}:{context.credentials['password']}")
        return f"with {context.credentials['password']}"

    @function()
    def wait(self, context: Context) -> None:
        """Wait inside a library, and fail when it is closed."""
        closed = Event()
        context.log("waiting")
        with context.on_stop(closed.set):
            closed.wait()
        raise Failed("The connection was closed.")
'''


@pytest.fixture
def bench(home: Path) -> Path:
    (home / "tools").mkdir()
    (home / "tools" / "bench.py").write_text(TOOL)
    (home / "agent.toml").write_text('tools = ["bench"]')
    (home / "credentials.toml").write_text(
        '[rig]\nusername = "bench-user"\npassword = "s3cret-7"\n'
    )
    (home / "credentials.toml").chmod(0o600)
    return home


def test_records_files_and_the_agents_own_credentials(
    portal: Portal, bench: Path, start_agent: StartAgent
) -> None:
    run = portal.add(
        "rig", tool="bench", function="measure", parameters={"count": 1500, "credentials": "rig"}
    )
    agent = start_agent()
    portal.wait(lambda: run.result)
    [(_, _, hello)] = portal.asked("hello")
    [advertised] = [tool for tool in hello["tools"] if tool["name"] == "bench"]
    assert set(advertised["functions"][0]["parameters"]["properties"]) == {"count", "credentials"}
    assert run.result == {
        "status": "completed",
        "message": "with ••••",
        "counts": {"total": 1500, "successful": 1499, "failed": 0, "skipped": 1},
    }
    assert sorted(run.records) == list(range(1, 1501))
    assert run.records[1500]["name"] == "part 1499"
    assert len(portal.asked("records$")) == 2
    assert run.files == {"big.bin": bytes(2_500_000), "empty.txt": b""}
    assert run.log.decode() == "as bench-user:••••\n"
    assert not any(b"s3cret-7" in body for body in portal.bodies)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0
    assert "s3cret-7" not in agent.stderr.read()


def test_credentials_that_the_agent_does_not_have_fail_the_run_before_it_begins(
    portal: Portal, bench: Path, start_agent: StartAgent
) -> None:
    run = portal.add(
        "rig", tool="bench", function="measure", parameters={"count": 1, "credentials": "other"}
    )
    start_agent()
    portal.wait(lambda: run.result)
    assert run.started == 0
    assert "no credentials named “other”" in run.result["message"]


def test_a_tool_that_waits_is_closed_at_the_time_limit_and_reports_no_error_of_its_own(
    portal: Portal, bench: Path, start_agent: StartAgent
) -> None:
    run = portal.add("rig", tool="bench", function="wait", run_timeout_s=0.5)
    start_agent()
    portal.wait(lambda: b"time limit is over" in run.log)
    assert not portal.asked("result$")


def test_an_agent_told_to_end_closes_a_tool_that_waits(
    portal: Portal, bench: Path, start_agent: StartAgent
) -> None:
    run = portal.add("rig", tool="bench", function="wait")
    agent = start_agent("--grace", "0")
    portal.wait(lambda: run.log)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0
    assert run.result["message"] == "The agent was stopped before the run was done."
