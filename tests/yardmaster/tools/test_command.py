"""What the tool `command` starts, what it never starts, and how it ends what it started."""

import sys
from pathlib import Path

import pytest

from tests.waiting import until
from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal
from yardmaster.testkit import Report, run
from yardmaster.tools import installed_tools
from yardmaster.tools.command import CommandTool

pytestmark = pytest.mark.once

SCRIPT = """
import os, sys
print("arguments", sys.argv[1:])
print("secret is", os.environ.get("YARDMASTER_HOME"), os.environ.get("EXTRA"), os.getcwd())
sys.stdout.flush()
os.write(2, b"half a line, \\xff")
sys.exit(int(sys.argv[-1]) if sys.argv[-1].isdigit() else 0)
"""
ENDLESS = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
LEAVES_ONE_BEHIND = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
"""


@pytest.fixture
def home_of(tmp_path: Path) -> Path:
    (tmp_path / "agent.toml").write_text(f"""
[commands.say]
run = ["{sys.executable}", "-c", '''{SCRIPT}''']
arguments = ["[a-z$;() ]+", "--level=[0-9]", "[0-9]"]
folder = "{tmp_path}"
environment = {{EXTRA = "more"}}
[commands.endless]
run = ["{sys.executable}", "-c", '''{ENDLESS}''']
[commands.leaves]
run = ["{sys.executable}", "-c", '''{LEAVES_ONE_BEHIND}''']
[commands.gone]
run = ["/nonexistent/program"]
""")
    return tmp_path


def start(folder: Path, command: str, *arguments: str, **options: object) -> Report:
    given = {"command": command, "arguments": list(arguments)}
    return run(CommandTool, "run", given, folder=folder, **options)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_arguments_stay_what_they_are_and_output_goes_to_the_log(
    home_of: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YARDMASTER_HOME", "elsewhere")
    report = start(home_of, "say", "$(id); x", "--level=3")
    assert report.status == "completed"
    assert report.log == (
        "arguments ['$(id); x', '--level=3']\n"
        f"secret is None more {home_of}\nhalf a line, \N{REPLACEMENT CHARACTER}\n"
    )


def test_an_exit_status_fails_the_run(home_of: Path) -> None:
    report = start(home_of, "say", "3")
    assert report.status == "failed"
    assert "say ended with exit status 3" in report.message


def test_output_is_masked(home_of: Path) -> None:
    report = start(home_of, "say", "topsecret", credentials={"password": "topsecret"})
    assert "['••••']" in report.log


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("rm", [], "does not allow a command “rm”"),
        ("/bin/ls", [], "does not allow a command “/bin/ls”"),
        ("say", ["--level=33"], "does not allow the argument '--level=33'"),
        ("say", ["a", "-x"], "does not allow the argument '-x'"),
        ("say", ["a\n"], "does not allow the argument"),
        ("leaves", ["a"], "does not allow the argument"),
        ("gone", [], "could not be started: No such file"),
    ],
)
def test_what_the_owner_did_not_allow_is_refused(
    home_of: Path, command: str, arguments: list[str], words: str
) -> None:
    report = start(home_of, command, *arguments)
    assert report.status == "failed"
    assert words in report.message
    assert report.log == ""


def test_settings_that_others_may_change_allow_nothing(home_of: Path) -> None:
    (home_of / "agent.toml").chmod(0o666)
    report = start(home_of, "say")
    assert report.status == "failed"
    assert "may be changed by others" in report.error


def test_at_the_time_limit_the_whole_group_ends(
    home_of: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yardmaster.tools.command.GRACE_S", 0.1)
    report = start(home_of, "endless", time_limit_s=1.5)
    assert report.status == "stopped"
    pids = [int(pid) for pid in report.log.split()]
    assert len(pids) == 2
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_what_a_command_leaves_behind_is_ended_and_not_waited_for(
    home_of: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yardmaster.tools.command.GRACE_S", 0.1)
    report = start(home_of, "leaves")
    assert report.status == "completed"
    pid = int(report.log)
    until(lambda: not is_alive(pid))


def test_it_is_there_only_where_commands_are_allowed(home_of: Path, tmp_path: Path) -> None:
    assert "command" in installed_tools(home_of)
    assert "command" not in installed_tools(tmp_path / "other")


@pytest.mark.faults
def test_a_portal_that_asks_for_more_is_refused_by_the_agent(
    portal: Portal, home: Path, tmp_path: Path, start_agent: StartAgent
) -> None:
    trace = tmp_path / "trace"
    (home / "agent.toml").write_text('[commands.list]\nrun = ["/bin/echo", "hello"]\n')
    runs = [
        portal.add("m", tool="command", function="run", parameters=parameters)
        for parameters in (
            {"command": "touch", "arguments": [str(trace)]},
            {"command": "list", "arguments": [f"; touch {trace}"]},
            {"command": "list"},
        )
    ]
    start_agent()
    portal.wait(lambda: all(each.result for each in runs))
    assert [each.result["status"] for each in runs] == ["failed", "failed", "completed"]
    assert "does not allow a command “touch”" in runs[0].result["message"]
    assert not trace.exists()
    assert runs[2].log == b"hello\n"
