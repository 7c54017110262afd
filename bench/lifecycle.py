"""One lifecycle (claim, start, complete) over REST beside bare psycopg on the same tables.

P is bare psycopg, one statement a step (each with its transition row), 8 processes; PB the same in
batches of 50. Both work on the portal's own tables with the same number of finished runs.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg

AGENTS = 8
BATCH = 50

CLAIM = """
    WITH head AS (
        SELECT id FROM jobs_jobrun
        WHERE queue_id = %(queue)s AND status = 'pending'
        ORDER BY priority, created_at, id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
    ), moved AS (
        UPDATE jobs_jobrun run
        SET status = 'claimed', sequence = sequence + 1, attempt = attempt + 1,
            agent_id = %(agent)s, lease_until = now() + interval '60 s', updated_at = now()
        FROM head WHERE run.id = head.id RETURNING run.id, run.sequence
    ), noted AS (
        INSERT INTO jobs_statustransition
            (run_id, sequence, from_status, to_status, agent_id, reason, message)
        SELECT id, sequence, 'pending', 'claimed', %(agent)s, '', '' FROM moved
    ) SELECT id FROM moved
"""
MOVE = """
    WITH moved AS (
        UPDATE jobs_jobrun SET status = %(to)s::text, sequence = sequence + 1, updated_at = now(),
            started_at = coalesce(started_at, now()),
            finished_at = CASE WHEN %(to)s::text = 'completed' THEN now() END,
            result = CASE WHEN %(to)s::text = 'completed' THEN 'success' ELSE '' END
        WHERE id = ANY(%(ids)s) AND status = %(was)s::text RETURNING id, sequence
    ) INSERT INTO jobs_statustransition
        (run_id, sequence, from_status, to_status, agent_id, reason, message)
    SELECT id, sequence, %(was)s::text, %(to)s::text, %(agent)s, '', '' FROM moved
"""


def bare(url: str, queue: int, agent: int, batch: int, until: float, out: Any) -> None:
    """Live runs through with psycopg alone; puts how many and how long each claim took."""
    done, waits = 0, []
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < until:
            began = time.perf_counter()
            rows = connection.execute(CLAIM, {"queue": queue, "limit": batch, "agent": agent})
            ids = [row[0] for row in rows.fetchall()]
            waits.append(time.perf_counter() - began)
            if not ids:
                break
            for was, to in (("claimed", "running"), ("running", "completed")):
                connection.execute(MOVE, {"was": was, "to": to, "ids": ids, "agent": agent})
            done += len(ids)
    out.put((done, waits))


class Wire:
    """A keep-alive HTTP connection that costs the load side as little as can be."""

    def __init__(self, port: int, token: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"

    def send(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        raw = json.dumps(body).encode()
        self.socket.sendall(
            f"{method} /api/v1/agent/{path} HTTP/1.1\r\n{self.head}"
            f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
            + raw
        )
        status = int(self.file.readline().split()[1])
        length = 0
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        data = self.file.read(length)
        return status, json.loads(data) if data else None


def over_rest(port: int, token: str, batch: int, until: float, out: Any) -> None:
    """Live runs through as an agent does; puts how many and how long each claim took."""
    wire, done, waits = Wire(port, token), 0, []
    while time.monotonic() < until:
        began = time.perf_counter()
        status, body = wire.send("POST", "claims", {"claim_id": str(uuid.uuid4()), "max": batch})
        waits.append(time.perf_counter() - began)
        if status == 204:
            break
        assert status == 200, (status, body)
        runs = body["runs"]
        if batch == 1:
            run = runs[0]
            held = {"attempt": run["attempt"], "claim_id": run["claim_id"]}
            status, _ = wire.send("PATCH", f"runs/{run['id']}", {**held, "status": "running"})
            assert status == 200, status
            status, _ = wire.send(
                "PUT",
                f"runs/{run['id']}/attempts/{run['attempt']}/result",
                {"status": "completed", "message": ""},
            )
            assert status == 200, status
        else:
            moves = [
                {
                    "id": r["id"],
                    "attempt": r["attempt"],
                    "claim_id": r["claim_id"],
                    "status": "running",
                }
                for r in runs
            ]
            status, answer = wire.send("PATCH", "runs", {"runs": moves})
            assert status == 200, answer
            assert all(one["code"] == "ok" for one in answer["runs"]), answer
            results = [
                {"id": r["id"], "attempt": r["attempt"], "status": "completed", "message": ""}
                for r in runs
            ]
            status, answer = wire.send("PUT", "results", {"results": results})
            assert status == 200, answer
            assert all(one["code"] == "ok" for one in answer["results"]), answer
        done += len(runs)
    out.put((done, waits))


def share(waits: list[float], part: float) -> float:
    """Within how many milliseconds so large a part of the waits was over."""
    return sorted(waits)[int(len(waits) * part)] * 1000 if waits else 0.0


def rate(
    work: Callable[..., None], each: list[tuple[Any, ...]], seconds: float
) -> tuple[float, list[float]]:
    """Run one process per entry for so long: lifecycles per second, and all waits in seconds."""
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    began = time.monotonic()
    until = began + seconds
    workers = [context.Process(target=work, args=(*args, until, out)) for args in each]
    for worker in workers:
        worker.start()
    found = [out.get(timeout=seconds + 30) for _ in workers]
    took = time.monotonic() - began
    for worker in workers:
        worker.join()
    return sum(done for done, _ in found) / took, [w for _, waits in found for w in waits]
