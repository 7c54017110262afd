"""What the portal in memory answers an agent: the rules of the protocol, and what it was told."""

import hashlib
import json
import re
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from yardmaster.objects import Entry, tree_id

TOKEN = "ym_agent_" + "0" * 32 + "_" + "t" * 43 + "_00000000"
FINAL = {"completed", "failed", "timed_out"}
NEXT = {
    "claimed": {"running"},
    "running": {"validating", "uploading"},
    "validating": {"uploading"},
    "uploading": set(),
}


class Problem(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, code: str = "", **extra: Any) -> None:
        super().__init__(code)
        self.status = status
        self.body = {"code": code, "title": code, "detail": f"Refused: {code}.", **extra}


@dataclass
class Run:
    """A run as the portal sees it."""

    target: str
    parameters: dict[str, Any] = field(default_factory=dict)
    credentials: dict[str, Any] = field(default_factory=dict)
    tool: str = "folder"
    function: str = "backup"
    run_timeout_s: float | None = 600
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempt: int = 0
    claim_id: str = ""
    status: str = "pending"
    statuses: list[str] = field(default_factory=list)
    result: Any = None
    late: Any = None
    log: bytes = b""
    tree: str = ""
    manifest: list[Entry] = field(default_factory=list)
    records: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    sealed: bool = False
    started: int = 0

    def move(self, status: str) -> None:
        self.status = status
        self.statuses.append(status)


class Answers:
    """The answers to what agents ask, each by what they said before."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.base_tree: str | None = None
        self.objects: dict[str, bytes] = {}
        self.content: dict[str, bytes] = {}
        self.staged: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.codes = {"CODE"}
        self.accepted = {TOKEN}
        self.current, self.next = TOKEN, ""
        self.settings: dict[str, Any] = {
            "heartbeat_s": 0.2,
            "lease_s": 60,
            "poll_s": 0.2,
            "slots": 2,
            "drain": False,
            "rotate": False,
            "limits": {"chunk_bytes": 1_000_000, "object_bytes": 8_388_608, "log_bytes": 262_144},
        }

    def asked(self, pattern: str) -> list[tuple[str, str, dict[str, Any]]]:
        with self.lock:
            return [r for r in self.requests if re.search(pattern, f"{r[0]} {r[1]}")]

    def act(
        self,
        http: BaseHTTPRequestHandler,
        method: str,
        path: str,
        query: dict[str, str],
        body: dict[str, Any],
        raw: bytes,
    ) -> tuple[int, dict[str, Any]]:
        if not path.startswith("/api/v1/"):
            raise Problem(404, "not_found")
        path = path.removeprefix("/api/v1")
        if path == "/agent/enroll":
            return self.enroll(body)
        token = (http.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.accepted:
            raise Problem(401, "not_authenticated")
        if token != self.current and token == self.next:
            self.accepted = {token}
            self.current, self.next, self.settings["rotate"] = token, "", False
        if path == "/agent/token":
            self.next = f"{TOKEN}-{len(self.asked('POST /agent/token'))}"
            self.accepted = {self.current, self.next}
            return 201, {"token": self.next}
        if path == "/agent/hello":
            return 200, {"agent": "a", "name": "line 1", "queues": [], **self.settings}
        if path == "/agent/claims":
            return self.claim(body)
        if path == "/agent/heartbeat":
            return self.beat(body)
        parts = path.split("/")[3:]
        run = self.runs.get(parts[0])
        if run is None:
            raise Problem(404, "not_found")
        if method == "PATCH":
            return self.patch(run, body)
        assert parts[1] == "attempts"
        if int(parts[2]) != run.attempt:
            raise Problem(409, "stale_attempt")
        rest = "/".join(parts[3:])
        if rest == "result":
            return self.report(run, body)
        if run.status in FINAL:
            raise Problem(409, "already_final")
        if rest == "log":
            return self.take_log(run, body)
        if rest == "records":
            new = {r["sequence"]: r for r in body["records"] if r["sequence"] not in run.records}
            run.records.update(new)
            return 200, {"stored": len(new)}
        if rest.startswith("files/"):
            return self.take_file(run, method, rest, query, body, raw)
        return self.snapshot(run, method, rest, query, body, raw)

    def enroll(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["code"] not in self.codes:
            raise Problem(403, "enrolment_refused")
        self.codes.remove(body["code"])
        return 201, {
            "agent": "a",
            "name": body["name"] or "line 1",
            "token": TOKEN,
            "organization": "North Works",
            "site": "Harbour",
        }

    def claim(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        mine = [run for run in self.runs.values() if run.claim_id == body["claim_id"]]
        if not mine:
            mine = [run for run in self.runs.values() if run.status == "pending"][: body["max"]]
            for run in mine:
                run.attempt += 1
                run.claim_id = body["claim_id"]
                run.move("claimed")
        return (200, {"runs": [self.shown(run) for run in mine]}) if mine else (204, {})

    def shown(self, run: Run) -> dict[str, Any]:
        return {
            "id": run.id,
            "attempt": run.attempt,
            "claim_id": run.claim_id,
            "status": run.status,
            "lease_s": self.settings["lease_s"],
            "run_timeout_s": run.run_timeout_s,
            "tool": run.tool,
            "function": run.function,
            "version": "1.0",
            "target": {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, run.target)),
                "name": "PLC",
                "kind": "device",
                "address": run.target,
                "settings": {},
            },
            "parameters": run.parameters,
            "credentials": run.credentials,
            "base_tree": self.base_tree,
            "inputs": [],
        }

    def patch(self, run: Run, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["attempt"] != run.attempt or body["claim_id"] != run.claim_id:
            raise Problem(409, "stale_attempt")
        if run.status in FINAL:
            raise Problem(409, "already_final")
        if body["status"] != run.status:
            if body["status"] not in NEXT[run.status]:
                raise Problem(409, "illegal_move")
            run.move(body["status"])
            run.started += body["status"] == "running"
        lease = self.settings["lease_s"]
        return 200, {
            "id": run.id,
            "attempt": run.attempt,
            "status": run.status,
            "lease_s": lease,
        }

    def beat(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        lines = []
        for line in body["runs"]:
            run = self.runs.get(line["id"])
            code = "ok"
            if run is None:
                code = "not_found"
            elif run.attempt != line["attempt"]:
                code = "stale_attempt"
            elif run.status in FINAL:
                code = "already_final"
            lease = self.settings["lease_s"] if code == "ok" else 0
            status = run.status if run else ""
            lines.append({**line, "code": code, "status": status, "lease_s": lease})
        names = ("heartbeat_s", "lease_s", "drain", "rotate")
        return 200, {"runs": lines, **{name: self.settings[name] for name in names}}

    def report(self, run: Run, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if run.status in FINAL:
            if run.result != body:
                run.late = run.late or body
                code = "result_conflict" if run.result else "already_final"
                raise Problem(409, code)
        else:
            snapshot = run.function == "backup"
            if snapshot and body["status"] == "completed" and not run.sealed:
                raise Problem(409, "not_sealed")
            run.result = body
            run.move(body["status"])
        return 200, {"id": run.id, "attempt": run.attempt, "status": run.status, "result": ""}

    def take_log(self, run: Run, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        data = body["text"].encode()
        if run.log[body["offset"] :] == data:
            return 200, {"length": len(run.log)}
        if body["offset"] != len(run.log):
            raise Problem(416, "offset_mismatch", length=len(run.log))
        run.log += data
        return 200, {"length": len(run.log)}

    def take_file(
        self,
        run: Run,
        method: str,
        key: str,
        query: dict[str, str],
        body: dict[str, Any],
        raw: bytes,
    ) -> tuple[int, dict[str, Any]]:
        staged = self.staged.get(key, b"")
        if method == "PUT":
            if int(query["offset"]) != len(staged):
                raise Problem(416, "offset_mismatch", length=len(staged))
            self.staged[key] = staged + raw
            return 200, {"length": len(staged) + len(raw)}
        if key not in self.staged:
            raise Problem(422, "nothing_staged")
        if (hashlib.sha256(staged).hexdigest(), len(staged)) != (body["sha256"], body["size"]):
            raise Problem(422, "hash_mismatch")
        run.files[body["name"]] = staged
        return 201, {}

    def snapshot(
        self,
        run: Run,
        method: str,
        rest: str,
        query: dict[str, str],
        body: dict[str, Any],
        raw: bytes,
    ) -> tuple[int, dict[str, Any]]:
        if rest == "snapshot":
            run.tree = body["tree"]
            run.sealed = run.tree == self.base_tree
            verdict = "up_to_date" if run.sealed else None
            return 200, {"verdict": verdict, "base_tree": self.base_tree, "commit": None}
        if rest == "snapshot/manifest":
            lines = [json.loads(line) for line in raw.splitlines()]
            run.manifest = [Entry(**line) for line in lines]
            large = {entry.sha256 for entry in run.manifest if entry.sha256}
            return 200, {
                "missing": sorted({e.id for e in run.manifest} - set(self.objects)),
                "missing_content": sorted(large - set(self.content)),
            }
        if rest == "snapshot/objects":
            return 200, {"received": self.take_objects(raw)}
        if rest == "snapshot/seal":
            return self.seal(run, body)
        sha256 = rest.rpartition("/")[2]
        staged = self.staged.get(sha256, b"")
        if method == "PUT":
            if int(query["offset"]) != len(staged):
                raise Problem(416, "offset_mismatch", length=len(staged))
            self.staged[sha256] = staged + raw
            return 200, {"length": len(staged) + len(raw)}
        if hashlib.sha256(staged).hexdigest() != sha256 or len(staged) != body["size"]:
            self.staged.pop(sha256, None)
            raise Problem(422, "hash_mismatch")
        self.content[sha256] = staged
        return 201, {}

    def take_objects(self, raw: bytes) -> int:
        assert len(raw) <= 16 * 1024 * 1024
        count = position = 0
        while position < len(raw):
            name = raw[position : position + 20].hex()
            length = int.from_bytes(raw[position + 20 : position + 24], "big")
            data = raw[position + 24 : position + 24 + length]
            assert hashlib.sha1(b"blob %d\0" % length + data).hexdigest() == name
            self.objects[name] = data
            position += 24 + length
            count += 1
        return count

    def seal(self, run: Run, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        missing = [e.id for e in run.manifest if e.id not in self.objects]
        if missing:
            raise Problem(422, "incomplete_snapshot", missing=missing)
        if body["tree"] != tree_id(run.manifest):
            raise Problem(422, "tree_mismatch")
        run.sealed = True
        counts = {"added": len(run.manifest), "modified": 0, "removed": 0, "renamed": 0}
        return 200, {"verdict": "modified", "commit": "c" * 40, "counts": counts}
