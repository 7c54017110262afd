"""The agent in one file: it runs on a machine with Python alone."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from django.test import Client

from agents import download
from sites.models import Site, User
from tests.pages import as_
from tests.waiting import PATIENCE_S
from tests.yardmaster.portal import Portal

# Python without the packages beside it, on its own and out of this folder.
ALONE = [sys.executable, "-I", "-S", "-W", "error"]


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal()
    yield made
    made.close()


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Run the downloaded file with nothing but Python's own library."""
    answer = Client().get("/agent/download")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="yardmaster.pyz"'
    file = tmp_path / "yardmaster.pyz"
    file.write_bytes(answer.content)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*ALONE, str(file), *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.mark.once
@pytest.mark.faults
def test_with_python_alone_it_enrols_and_backs_a_folder_up(
    alone: Callable[..., subprocess.Popen[str]], portal: Portal, tmp_path: Path
) -> None:
    plain = subprocess.run([*ALONE, "-c", "import httpx"], cwd=tmp_path, capture_output=True)
    assert b"No module named 'httpx'" in plain.stderr
    plant = tmp_path / "plant"
    plant.mkdir()
    (plant / "main.st").write_text("PROGRAM main\n")

    enrol = alone("agent", "enroll", f"{portal.url}/a/CODE", "--dir", tmp_path / "agent")
    said, errors = enrol.communicate(timeout=PATIENCE_S)
    assert (enrol.returncode, errors) == (0, "")
    assert "Enrolled as line 1" in said

    run = portal.add(plant)
    agent = alone("agent", "run", "--dir", tmp_path / "agent")
    try:
        portal.wait(lambda: run.result)
        assert run.result["message"] == "1 file, 13 bytes: 1 added"
        status = alone("agent", "status", "--dir", tmp_path / "agent")
        shown, errors = status.communicate(timeout=PATIENCE_S)
        assert "yes, process" in shown, errors
        unit = alone("agent", "install", "--dry-run", "--dir", tmp_path / "agent")
        shown, errors = unit.communicate(timeout=PATIENCE_S)
        assert f" {tmp_path}/yardmaster.pyz agent run --dir " in shown, errors
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE_S) == 0
    finally:
        agent.kill()
        agent.communicate()
    [(_, _, hello)] = portal.asked("hello")
    assert [tool["name"] for tool in hello["tools"]] == ["folder", "http"]


@pytest.mark.once
def test_it_holds_python_alone_with_every_licence_and_is_made_the_same_each_time() -> None:
    made = download.agent_file()
    names = zipfile.ZipFile(io.BytesIO(made.data)).namelist()
    assert not [name for name in names if re.search(r"\.(so|pyd|dll|dylib|pyc)$", name)]
    assert not [name for name in names if name.startswith("/") or ".." in name]
    assert not [name for name in names if name.startswith(("django", "sites", "agents", "config"))]
    for package in ("httpx", "typer", "rich", "certifi"):
        assert any(re.match(rf"{package}-.*dist-info/.*LICEN[CS]E", name) for name in names)
    download.agent_file.cache_clear()
    assert download.agent_file().sha256 == made.sha256


def test_whoever_has_it_is_not_sent_it_again() -> None:
    first = Client().get("/agent/download")
    again = Client().get("/agent/download", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert Client().post("/agent/download").status_code == 405


def test_an_installation_that_lacks_a_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(download, "distribution", absent)
    download.agent_file.cache_clear()
    answer = Client(raise_request_exception=False).get("/agent/download")
    download.agent_file.cache_clear()
    assert answer.status_code == 503
    assert "is not installed beside the portal" in answer.content.decode()


@pytest.mark.django_db
def test_who_adds_an_agent_is_given_the_line_with_the_download(alice: User, hall: Site) -> None:
    client = as_(alice)
    added = client.post("/agents/add", {"name": "n", "site": str(hall.public_id), "slots": "1"})
    page = client.get(added.headers["Location"]).content.decode()
    assert re.search(
        r"curl -fsS -o yardmaster.pyz \S+/agent/download &amp;&amp;"
        r" python3 yardmaster.pyz agent enroll",
        page,
    )
