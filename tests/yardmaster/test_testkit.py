"""The guide's tool, and what the test kit tells of any."""

import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import ModuleType

import pytest

from yardmaster.sdk import Context, Failed, Outcome, function, tool
from yardmaster.testkit import run
from yardmaster.tools import installed_tools
from yardmaster.tools.folder import Folder

pytestmark = pytest.mark.once
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "tools.md"
TOOL, KIT = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[:2]


@pytest.fixture
def press_address() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"/early/1": b"120", "/early/2": b"80"}[self.path]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_guides_tool_does_what_the_guide_says(press_address: str) -> None:
    assert len(TOOL.strip().splitlines()) < 40
    module = ModuleType("guide")
    exec(compile(TOOL, "tools.md", "exec"), vars(module))  # noqa: S102
    exec(compile(KIT, "tools.md", "exec"), vars(module) | {"address": press_address})  # noqa: S102


def test_the_agent_loads_it_from_its_folder(
    tmp_path: Path, press_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "press.py").write_text(TOOL)
    (tmp_path / "agent.toml").write_text('tools = ["press"]\n')
    found = installed_tools(tmp_path)["press"]
    monkeypatch.delitem(sys.modules, "press")  # as a name of this test alone
    advertised = found.advertised()["functions"][0]
    assert (advertised["title"], advertised["produces"]) == ("Read the piece counters", "files")
    report = run(found, "counters", {"lines": [2]}, address=press_address)
    assert (report.message, report.progress) == ("1 lines read", 100)


@tool(name="odd", version="1")
class Odd:
    closed = Event()

    @function()
    def fail(self, context: Context) -> None:
        """Fail with a secret."""
        context.log("as hunter2-", end="")
        context.log("hunter2")
        context.record("failed", name="hunter2", error="x" * 20_000)
        raise Failed("hunter2 was refused", "hunter2!")

    @function()
    def endless(self, context: Context) -> Outcome:
        """Wait inside a library."""
        self.closed.clear()
        with context.on_stop(self.closed.set):
            self.closed.wait()
        raise OSError("closed in the middle")

    @function()
    def busy(self, context: Context) -> None:
        """Work without end."""
        while True:
            context.log("on and on")

    @function(produces="snapshot")
    def forgets(self, context: Context) -> None:
        """Make no snapshot."""


def test_secrets_are_masked_wherever_they_are_said() -> None:
    report = run(Odd, "fail", credentials={"password": "hunter2"})
    assert (report.status, report.message, report.error) == (
        "failed",
        "•••• was refused",
        "••••!",
    )
    assert report.log == "as ••••-••••\n"
    [record] = report.records
    assert (record["name"], len(record["error"])) == ("••••", 10_000)


@pytest.mark.parametrize("name", ["endless", "busy"])
def test_the_time_limit_stops_work_that_waits_and_work_that_does_not(name: str) -> None:
    assert run(Odd, name, time_limit_s=0.3).status == "stopped"


def test_a_backup_without_a_snapshot_fails_as_at_the_portal() -> None:
    assert run(Odd, "forgets").status == "failed"


def test_a_snapshot_is_read_as_sending_it_would(plant: Path) -> None:
    (plant / "link").symlink_to("readme.txt")
    report = run(Folder, "backup", address=str(plant))
    assert report.snapshot == {"plc/main.st": b"PROGRAM main\n", "readme.txt": b"Line 1\n"}
    assert report.links == {"link": "readme.txt"}
    again = run(Folder, "backup", address=str(plant), base_tree=report.tree)
    assert again.message == "3 files, 30 bytes: nothing changed"
