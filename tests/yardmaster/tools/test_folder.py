"""A backup as its run sees it: over real HTTP, up to the body of its result."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_S
from tests.yardmaster.answers import TOKEN, Run
from tests.yardmaster.portal import Portal
from yardmaster.agent import clock
from yardmaster.agent.held import Held
from yardmaster.agent.logs import LogStream
from yardmaster.agent.masking import Masker
from yardmaster.agent.work import RunContext, work
from yardmaster.client import Client
from yardmaster.objects import blob_id
from yardmaster.tools import installed_tools

pytestmark = pytest.mark.once

Backup = Callable[..., tuple[dict[str, Any], Run]]


@pytest.fixture
def backup(portal: Portal, tmp_path: Path) -> Iterator[Backup]:
    """Carry out a backup in this process; returns the result's body and the portal's run."""
    client = Client(portal.url, TOKEN)
    limits = {"chunk_bytes": 1000, "object_bytes": 10_000, "log_bytes": 262_144}

    def run_it(address: object, **parameters: Any) -> tuple[dict[str, Any], Run]:
        run = portal.add(address or "", parameters=parameters, attempt=1, claim_id="c")
        run.move("claimed")
        held = Held(portal.shown(run), clock.now())
        held.start(client)
        stream = LogStream(client, held.path, Masker([]), 262_144)
        context = RunContext(held, client, stream, tmp_path / "agent", limits, Masker([]))
        body = work(installed_tools(), held, context)
        stream.close(lambda: False, PATIENCE_S)
        return body, run

    yield run_it
    client.close()


def test_large_content_goes_in_chunks_beside_its_pointer(
    backup: Backup, portal: Portal, plant: Path
) -> None:
    data = bytes(range(250)) * 50
    (plant / "big.bin").write_bytes(data)
    body, run = backup(plant)
    assert body["status"] == "completed"
    assert list(portal.content.values()) == [data]
    assert all(data not in blob for blob in portal.objects.values())
    assert len(portal.asked("PUT .*/content/")) == 13
    assert run.sealed


def test_an_upload_goes_on_where_the_portal_has_it(
    backup: Backup, portal: Portal, plant: Path
) -> None:
    import hashlib

    data = bytes(range(250)) * 50
    (plant / "big.bin").write_bytes(data)
    portal.staged[hashlib.sha256(data).hexdigest()] = data[:7777]
    body, _ = backup(plant)
    assert body["status"] == "completed"
    assert list(portal.content.values()) == [data]
    # One piece is refused with the length, and five carry the rest.
    assert len(portal.asked("PUT .*/content/")) == 6


def test_a_chunk_whose_answer_was_lost_is_not_sent_into_the_content_twice(
    backup: Backup, portal: Portal, plant: Path
) -> None:
    data = bytes(range(250)) * 50
    (plant / "big.bin").write_bytes(data)
    portal.fail("PUT .*/content/", 0, after=True)
    body, _ = backup(plant)
    assert body["status"] == "completed"
    assert list(portal.content.values()) == [data]


def test_only_what_the_portal_lacks_is_sent(backup: Backup, portal: Portal, plant: Path) -> None:
    backup(plant)
    portal.objects.pop(blob_id(b"Line 1\n"))
    before = len(portal.bodies)
    (plant / "copy.txt").write_text("Line 1\n")
    backup(plant)
    [sent] = [raw for raw in portal.bodies[before:] if b"Line 1\n" in raw]
    assert len(sent) == 24 + len("Line 1\n")


def test_objects_are_batched(
    backup: Backup, portal: Portal, plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yardmaster.agent import snapshot

    monkeypatch.setattr(snapshot, "BATCH_BYTES", 5000)
    for number in range(20):
        (plant / f"{number}").write_text(f"{number}" * 500)
    body, run = backup(plant)
    assert body["status"] == "completed"
    sizes = [
        len(raw)
        for (m, p, _), raw in zip(portal.requests, portal.bodies, strict=True)
        if p.endswith("/objects")
    ]
    assert len(sizes) > 3
    assert max(sizes) <= 5000
    assert run.sealed


def test_a_file_that_changes_before_it_is_sent_is_read_again(
    backup: Backup, portal: Portal, plant: Path
) -> None:
    act = portal.snapshot

    def change_it(run: Run, method: str, rest: str, *others: Any) -> Any:
        answer = act(run, method, rest, *others)
        if rest == "snapshot/manifest" and len(portal.asked("manifest$")) == 1:
            (plant / "readme.txt").write_text("Line 2, and longer\n")
        return answer

    portal.snapshot = change_it  # type: ignore[method-assign, assignment]
    body, run = backup(plant)
    assert body["status"] == "completed"
    assert blob_id(b"Line 2, and longer\n") in portal.objects
    assert run.statuses == ["claimed", "running", "validating", "uploading"]
    assert b"readme.txt changed while it was being sent. Reading the folder again." in run.log


def test_a_file_that_never_stays_fails_the_run(backup: Backup, portal: Portal, plant: Path) -> None:
    act = portal.snapshot

    def change_it(run: Run, method: str, rest: str, *others: Any) -> Any:
        answer = act(run, method, rest, *others)
        if rest == "snapshot/manifest":
            with (plant / "readme.txt").open("a") as stream:
                stream.write("more")
        return answer

    portal.snapshot = change_it  # type: ignore[method-assign, assignment]
    body, run = backup(plant)
    assert body["status"] == "failed"
    assert "kept changing while they were sent" in body["message"]
    assert not run.sealed


def test_what_was_left_out_is_counted_and_named(
    backup: Backup, plant: Path, tmp_path: Path
) -> None:
    (plant / "out").symlink_to("/etc/passwd")
    (plant / "huge").write_bytes(b"x" * 2_000_001)
    body, run = backup(plant, max_file_mb=2)
    assert body["message"].endswith("; 2 left out, see the log")
    assert body["counts"] == {"total": 4, "successful": 2, "failed": 0, "skipped": 2}
    log = run.log.decode()
    assert "Warning: left out huge: it has 2000001 bytes, more than the limit of 2000000" in log
    assert "Warning: left out out: it is a link that leaves the folder (to '/etc/passwd')" in log


def test_what_cannot_be_kept_fails_the_run_with_a_list(
    backup: Backup, portal: Portal, plant: Path
) -> None:
    for number in range(60):
        (plant / f"bell\x07{number}").write_text("x")
    body, _ = backup(plant)
    assert body["status"] == "failed"
    assert body["message"].startswith(f"60 files or folders in {plant} cannot be backed up: ")
    lines = body["error"].splitlines()
    assert len(lines) == 51
    assert lines[-1] == "… and 10 more"
    assert not portal.asked("snapshot")


def test_include_and_exclude(backup: Backup, plant: Path) -> None:
    (plant / "plc" / "main.bak").write_text("x")
    (plant / "plc" / "old").mkdir()
    (plant / "plc" / "old" / "main.st").write_text("x")
    _, run = backup(plant, include=["plc", "*.txt"], exclude=["*.bak", "plc/old"])
    assert sorted(entry.path for entry in run.manifest) == ["plc/main.st", "readme.txt"]


def test_the_folder_may_come_from_the_parameters(backup: Backup, plant: Path) -> None:
    body, _ = backup("", path=str(plant))
    assert body["status"] == "completed"


@pytest.mark.parametrize(
    ("address", "parameters", "message"),
    [
        ("", {}, "No folder was named."),
        ("relative", {}, "is not an absolute path"),
        ("/nonexistent/folder", {}, "does not exist on"),
        ("/etc/passwd", {}, "is not a folder"),
        ("/etc", {"path": "/srv"}, "The target's address is /etc, but the job's folder is /srv."),
        ("/etc", {"include": "*.st"}, "“include” has to be a list"),
        ("/etc", {"exclude": [7]}, "“exclude” has to be a list"),
        ("/etc", {"exclude": ["../x"]}, "must not leave the folder"),
        ("/etc", {"max_file_mb": "1"}, "“max_file_mb” has to be a number"),
        ("/etc", {"max_file_mb": 0}, "“max_file_mb” has to be a number"),
    ],
)
def test_what_was_asked_for_wrongly_is_said(
    backup: Backup, address: str, parameters: dict[str, Any], message: str
) -> None:
    body, run = backup(address, **parameters)
    assert body["status"] == "failed"
    assert message in body["message"]
    assert not run.tree


def test_a_function_that_the_agent_lacks_fails_the_run(portal: Portal, tmp_path: Path) -> None:
    run = portal.add("/srv", function="restore", attempt=1, claim_id="c")
    held = Held(portal.shown(run), clock.now())
    body = work(installed_tools(), held, None)
    assert body == {"status": "failed", "message": "The tool folder has no function restore."}
