"""How tests get a real snapshot: an agent sends a few files over the protocol and reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from jobs.models import Job
from sites.models import User
from tests import factories
from tests.factories import AgentAPI
from yardmaster.objects import FILE, Entry, blob_id, tree_id


def entries_of(files: dict[str, bytes]) -> list[Entry]:
    return [Entry(path, FILE, len(data), blob_id(data)) for path, data in files.items()]


def begun(job: Job, agent: factories.Enrolled, *, by: User) -> dict[str, Any]:
    """A backup at work, as its agent was given it."""
    factories.run(job, by=by)
    [run] = agent.api.claim()
    agent.api.move(run, "running")
    return run


def back_up(agent: AgentAPI, files: dict[str, bytes]) -> dict[str, Any]:
    """Claim the next run, which must be a backup, and carry it out with these files."""
    (run,) = agent.claim()
    assert agent.move(run, "running").status_code == 200
    send(agent, run, files)
    ended = agent.finish(run)
    assert ended.status_code == 200, ended.content
    return run


def send(agent: AgentAPI, run: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    """Send and seal what a running backup has found."""
    tree = tree_id(entries_of(files))
    opened = agent.post(agent.of(run, "snapshot"), {"tree": tree})
    assert opened.status_code == 200, opened.content
    if opened.json()["verdict"]:
        return opened.json()
    listed = send_list(agent, run, files)
    assert listed.status_code == 200, listed.content
    missing = set(listed.json()["missing"])
    if lacking := [data for data in files.values() if blob_id(data) in missing]:
        sent = send_objects(agent, run, lacking)
        assert sent.status_code == 200, sent.content
    sealed = agent.post(agent.of(run, "snapshot/seal"), {"tree": tree})
    assert sealed.status_code == 200, sealed.content
    return sealed.json()


def send_list(agent: AgentAPI, run: dict[str, Any], files: dict[str, bytes]) -> Any:
    """Send the manifest alone; gives the answer."""
    lines = b"".join(
        json.dumps({"path": e.path, "mode": e.mode, "size": e.size, "id": e.id}).encode() + b"\n"
        for e in entries_of(files)
    )
    return agent.post(agent.of(run, "snapshot/manifest"), lines, kind="application/x-ndjson")


def send_objects(agent: AgentAPI, run: dict[str, Any], blobs: Iterable[bytes]) -> Any:
    """Send blobs in one request; gives the answer."""
    frames = b"".join(
        bytes.fromhex(blob_id(data)) + len(data).to_bytes(4, "big") + data for data in set(blobs)
    )
    return agent.post(agent.of(run, "snapshot/objects"), frames, kind="application/octet-stream")


def leave_file(agent: AgentAPI, run: dict[str, Any], file: object, name: str, data: bytes) -> None:
    """Attach a file to a run that the agent holds."""
    path = agent.of(run, f"files/{file}")
    kind = "application/octet-stream"
    assert agent.put(f"{path}?offset=0", data, kind=kind).status_code == 200
    about = {
        "name": name,
        "media_type": "text/html",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert agent.post(path, about).status_code == 201
