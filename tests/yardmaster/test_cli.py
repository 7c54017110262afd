"""What a person at the machine types and sees."""

import json
import logging
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import yardmaster
from agents import catalogue
from agents.schemas import errors_in
from tests.yardmaster.answers import TOKEN
from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal
from yardmaster.agent.loop import describe
from yardmaster.cli import Lines, app
from yardmaster.tools import RESERVED, installed_tools

pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parents[2]


def type_in(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_line(result: Result) -> str:
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    return line


@pytest.mark.parametrize("pasted", [True, False])
def test_enrolling_keeps_the_token_in_a_file_of_its_owner(
    portal: Portal, tmp_path: Path, pasted: bool
) -> None:
    folder = tmp_path / "new" / "agent"
    where = [f"{portal.url}/a/CODE"] if pasted else [portal.url, "CODE"]
    result = type_in("agent", "enroll", *where, "--dir", folder, "--slots", "2")
    assert result.exit_code == 0
    assert "Enrolled as line 1 (North Works, Harbour)." in result.stdout
    kept = folder / "config.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    config = json.loads(kept.read_text())
    assert (config["portal"], config["token"], config["slots"]) == (portal.url, TOKEN, 2)
    assert TOKEN not in result.output
    [(_, _, sent)] = portal.asked("enroll")
    assert sent["code"] == "CODE"
    [advertised] = [tool for tool in sent["tools"] if tool["name"] == "folder"]
    assert (advertised["name"], advertised["version"]) == ("folder", "1.0")
    [function] = advertised["functions"]
    assert (function["name"], function["produces"]) == ("backup", "snapshot")


def test_the_portal_takes_the_parameters_of_every_tool(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('[commands.list]\nrun = ["/bin/ls"]\n')
    tools: Any = describe(installed_tools(tmp_path))["tools"]
    assert {tool["name"] for tool in tools} == RESERVED
    catalogue.check(tools)
    of = {tool["name"]: tool["functions"][0]["parameters"] for tool in tools}
    good: dict[str, dict[str, Any]] = {
        "folder": {"include": ["*.st"], "exclude": [], "max_file_mb": 1.5},
        "http": {"addresses": ["/a"], "headers": {"Accept": "*/*"}, "credentials": "plc"},
        "sftp": {"path": "/srv", "fingerprint": "SHA256:x", "max_file_mb": 2},
        "command": {"command": "list", "arguments": ["-l"]},
    }
    for name, parameters in good.items():
        assert errors_in(of[name], parameters) == []
        assert errors_in(of[name], {**parameters, "unknown": 1})


def test_a_used_code_is_one_line(portal: Portal, tmp_path: Path) -> None:
    portal.codes.clear()
    line = one_line(type_in("agent", "enroll", f"{portal.url}/a/CODE", "--dir", tmp_path))
    assert "The portal did not enrol this machine: Refused: enrolment_refused." in line
    assert not (tmp_path / "config.json").exists()


def test_a_second_enrolment_does_not_use_up_its_code(portal: Portal, home: Path) -> None:
    line = one_line(type_in("agent", "enroll", f"{portal.url}/a/CODE", "--dir", home))
    assert "--replace" in line
    assert portal.codes == {"CODE"}
    again = type_in("agent", "enroll", f"{portal.url}/a/CODE", "--dir", home, "--replace")
    assert again.exit_code == 0


def test_a_folder_that_cannot_keep_the_token_does_not_use_up_the_code(
    portal: Portal, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    line = one_line(type_in("agent", "enroll", f"{portal.url}/a/CODE", "--dir", tmp_path / "file"))
    assert "cannot be written" in line
    assert portal.codes == {"CODE"}


def test_plain_http_to_another_machine_is_refused(tmp_path: Path) -> None:
    line = one_line(type_in("agent", "enroll", "http://p.example/a/CODE", "--dir", tmp_path))
    assert "--insecure-http" in line


def test_a_missing_code_is_one_line(portal: Portal, tmp_path: Path) -> None:
    line = one_line(type_in("agent", "enroll", portal.url, "--dir", tmp_path))
    assert "enrolment code is missing" in line


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    line = one_line(type_in("agent", "enroll", "http://127.0.0.1:9/a/CODE", "--dir", tmp_path))
    assert "No answer from http://127.0.0.1:9" in line


@pytest.mark.parametrize("command", ["run", "status"])
def test_without_an_enrolment_there_is_one_line(tmp_path: Path, command: str) -> None:
    line = one_line(type_in("agent", command, "--dir", tmp_path))
    assert "No agent is enrolled" in line


def test_a_damaged_config_is_one_line(home: Path) -> None:
    (home / "config.json").write_text("{")
    assert "is damaged" in one_line(type_in("agent", "run", "--dir", home))


def test_status_shows_a_running_agent_and_its_spool(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("seal$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: portal.asked("seal$"))
    portal.wait(lambda: len(portal.asked("heartbeat$")) >= 3)
    shown = type_in("agent", "status", "--dir", home).stdout
    assert f"yes, process {agent.pid}" in shown
    assert run.id in shown
    found = json.loads(type_in("agent", "status", "--dir", home, "--json").stdout)
    assert (found["running"], found["spool"]["results"]) == (True, 0)
    assert found["spool"]["claims"] >= 1
    assert found["last_answer_at"] is not None
    agent.kill()
    agent.wait()
    assert (
        json.loads(type_in("agent", "status", "--dir", home, "--json").stdout)["running"] is False
    )


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert type_in("--version").stdout == f"yardmaster {yardmaster.__version__}\n"
    assert yardmaster.__version__ == project["version"]


def test_it_imports_nothing_of_the_portal_and_nothing_heavy_too_early() -> None:
    script = (
        "import sys, yardmaster, yardmaster.cli; print('httpx' in sys.modules);"
        "import yardmaster.agent.loop, yardmaster.agent.enrolment, yardmaster.agent.status;"
        "known = {'django', 'sites', 'agents', 'jobs', 'config', 'notifications'};"
        "print('httpx' in sys.modules, known & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True)
    assert said.stdout.decode().splitlines() == ["False", "True set()"]


def test_what_a_tool_says_begins_no_line_of_the_log() -> None:
    said = "x\n2026-01-01 00:00:00 INFO all is well\r\x1b[2J\u2028y"
    try:
        raise ValueError(said)
    except ValueError:
        about = sys.exc_info()
    record = logging.LogRecord("yardmaster", logging.INFO, "", 1, "Run 1: %s", (said,), about)
    first, *rest = Lines("%(levelname)s %(message)s").format(record).splitlines()
    assert first == r"INFO Run 1: x\n2026-01-01 00:00:00 INFO all is well\r\x1b[2J\u2028y"
    assert rest[-1].endswith(r"all is well\r\x1b[2J\u2028y")
    assert all(line.startswith("    ") for line in rest)
