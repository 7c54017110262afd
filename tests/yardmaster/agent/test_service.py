"""The unit that systemd is given, and when none is written."""

import os
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.yardmaster.answers import TOKEN
from yardmaster.agent import config, service
from yardmaster.cli import app

pytestmark = pytest.mark.once


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name systemd would read as more than one word, on a machine with systemd."""
    folder = tmp_path / 'a b "%h" $HOME'
    config.make_folder(folder)
    enrolled = config.Config(portal="https://p.example", agent="a", name="line 1", token=TOKEN)
    config.write(folder, enrolled)
    monkeypatch.setattr(service, "BOOTED", tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


def install(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["agent", "install", "--dir", str(folder), *options])


def written(tmp_path: Path, name: str = "yardmaster-agent") -> Path:
    return tmp_path / "config" / "systemd" / "user" / f"{name}.service"


def test_a_users_unit_is_written_and_printed(own: Path, tmp_path: Path) -> None:
    result = install(own, "--user")
    assert result.exit_code == 0
    text = written(tmp_path).read_text()
    assert result.stdout == text
    assert f"Wrote {written(tmp_path)}:\n" in result.stderr
    assert "systemctl --user enable --now yardmaster-agent.service" in result.stderr
    unit = RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    command = shlex.split(unit["Service"]["ExecStart"])
    # As systemd reads it: %% is % and $$ is $.
    plain = [word.replace("%%", "%").replace("$$", "$") for word in command]
    assert plain[-4:] == ["agent", "run", "--dir", str(own)]
    assert Path(plain[0]).is_relative_to(Path(sys.executable).parent)
    assert unit["Service"]["RestartPreventExitStatus"] == "77"
    assert "User" not in unit["Service"]
    assert unit["Install"]["WantedBy"] == "default.target"
    assert TOKEN not in result.output
    if analyze := shutil.which("systemd-analyze"):
        checked = subprocess.run(
            [analyze, "verify", "--user", str(written(tmp_path))],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            text=True,
            capture_output=True,
        )
        assert "yardmaster-agent.service" not in checked.stderr
        assert "Failed" not in checked.stderr


def test_the_same_again_is_fine_and_another_is_not_lost(own: Path, tmp_path: Path) -> None:
    install(own, "--user")
    assert install(own, "--user").exit_code == 0
    refused = install(own, "--user", "--insecure-http")
    assert refused.exit_code == 1
    assert "says something else" in refused.stderr
    assert install(own, "--user", "--insecure-http", "--replace").exit_code == 0
    assert "--insecure-http" in written(tmp_path).read_text()
    assert install(own, "--user", "--name", "press").exit_code == 0
    assert written(tmp_path, "press").exists()


def test_a_dry_run_writes_nothing_and_needs_no_systemd(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BOOTED", tmp_path / "nowhere")
    result = install(own, "--dry-run")
    assert result.exit_code == 0
    assert "This would be /etc/systemd/system/yardmaster-agent.service:" in result.stderr
    assert result.stdout.startswith("[Unit]\n")  # nothing else, led into a file
    assert result.stdout.endswith("\nWantedBy=multi-user.target\n")
    assert f"\nUser={own.owner()}\n" in result.stdout
    assert "WantedBy=multi-user.target" in result.stdout


def test_without_systemd_it_refuses_and_says_what_to_do(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BOOTED", tmp_path / "nowhere")
    result = install(own, "--user")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert "not started by systemd" in line
    assert not written(tmp_path).exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--name", "a/b"], "cannot be the name"), (["--name", "a\nb"], "cannot be the name")],
)
def test_a_name_that_no_unit_can_have(own: Path, options: list[str], words: str) -> None:
    result = install(own, "--user", *options)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_folder_without_enrolment(tmp_path: Path) -> None:
    result = install(tmp_path, "--dry-run")
    assert result.exit_code == 1
    assert "No agent is enrolled" in result.stderr
