"""What a machine's owner allows, and how a file that others may change or read is refused."""

from pathlib import Path

import pytest

from yardmaster.agent.config import ConfigError
from yardmaster.owner import allowed, own_credentials
from yardmaster.tools import installed_tools

pytestmark = pytest.mark.once


def write(folder: Path, name: str, text: str, mode: int = 0o600) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)


def test_without_files_nothing_is_allowed(tmp_path: Path) -> None:
    assert (allowed(tmp_path).tools, allowed(tmp_path).commands) == ((), {})
    with pytest.raises(ConfigError, match="no credentials named “plc”"):
        own_credentials(tmp_path, "plc")


def test_credentials_come_with_the_hosts_that_may_have_them(tmp_path: Path) -> None:
    write(tmp_path, "credentials.toml", '[plc]\npassword="p"\nhosts=["PLC-1"]\n[bare]\nuser="u"')
    assert own_credentials(tmp_path, "plc") == {"password": "p", "hosts": ["plc-1"]}
    assert own_credentials(tmp_path, "bare") == {"user": "u", "hosts": []}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_credentials_that_others_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    write(tmp_path, "credentials.toml", '[plc]\npassword="p"\n', mode)
    with pytest.raises(ConfigError, match=r"may be read by others\. .*chmod 600"):
        own_credentials(tmp_path, "plc")


def test_an_error_in_credentials_repeats_none_of_them(tmp_path: Path) -> None:
    write(tmp_path, "credentials.toml", "[plc]\npassword=hunter2\n")
    with pytest.raises(ConfigError, match="not TOML") as error:
        own_credentials(tmp_path, "plc")
    assert "hunter2" not in str(error.value)


def test_settings_that_others_may_change_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "agent.toml", "tools = []\n", 0o644)
    allowed(tmp_path)
    write(tmp_path, "agent.toml", "tools = []\n", 0o664)
    with pytest.raises(ConfigError, match="may be changed by others"):
        allowed(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tool = []", "has “tool”"),
        ("tools = 'x'", "list of module names"),
        ("commands = 1", "has to be tables"),
        ("[commands.x]\nrun = 'ls'", "needs run ="),
        ("[commands.x]\nrun = []", "needs run ="),
        ("[commands.x]\nrun = ['ls']", "absolute path"),
        ("[commands.x]\nrun = ['/bin/ls']\nshell = true", "has “shell”"),
        ("[commands.x]\nrun = ['/bin/ls']\narguments = ['(']", "no regular expression"),
        ("[commands.x]\nrun = ['/bin/ls']\nfolder = 'a'", "absolute path"),
        ("[commands.x]\nrun = ['/bin/ls']\nenvironment = {A = 1}", "table of texts"),
    ],
)
def test_settings_that_mean_nothing_are_said(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path, "agent.toml", text)
    with pytest.raises(ConfigError, match=words):
        allowed(tmp_path)


TOOL = """
from yardmaster.sdk import function, tool
@tool(name="{name}", version="1")
class T:
    @function()
    def f(self, context):
        "Do it."
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (TOOL.format(name="folder"), "there is one already"),
        (TOOL.format(name="command"), "there is one already"),
        ("import yardmaster_nowhere", "cannot be loaded. ModuleNotFoundError"),
        ("x = 1", "no class made a tool"),
        ("from yardmaster.tools.folder import Folder", "no class made a tool"),
    ],
)
def test_a_tool_that_cannot_be_used_keeps_the_agent_from_starting(
    tmp_path: Path, module: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "tools").mkdir()
    write(tmp_path / "tools", "own_tool.py", module)
    write(tmp_path, "agent.toml", 'tools = ["own_tool"]')
    monkeypatch.delitem(sys.modules, "own_tool", raising=False)
    try:
        with pytest.raises(ConfigError, match=words):
            installed_tools(tmp_path)
    finally:
        sys.modules.pop("own_tool", None)
