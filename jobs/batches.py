"""Many moves or results of one agent in a few statements, for agents with many short runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from agents.models import Agent
from sites import sql
from sites.problems import Refused
from sites.sql import Sql

from . import moves, results, transitions, turns
from .states import Status


class Answered(NamedTuple):
    """What became of one item: `ok`, or the code with which it would have been refused alone."""

    id: UUID
    attempt: int
    code: str
    status: str | None
    result: str = ""


def report_all(agent: Agent, items: list[dict[str, Any]]) -> list[Answered]:
    """Take many moves at once: each as `transitions.report_status` would take it alone.

    Those without message and progress go in one statement for each status and claim; the rest, and
    those that this did not move, one by one, which also explains them.
    """
    groups: dict[tuple[str, UUID], list[tuple[UUID, int]]] = {}
    for item in items:
        if not item.get("message") and item.get("progress") is None:
            same = groups.setdefault((item["status"], item["claim_id"]), [])
            same.append((item["id"], item["attempt"]))
    made: set[tuple[UUID, int, str]] = set()
    for (status, claim_id), runs in groups.items():
        to = Status(status)
        moved = moves.write(
            transitions.held_by(agent, runs, claim_id),
            to,
            by=moves.Actor(agent=agent),
            columns=transitions.columns_of(to),
        )
        made |= {(run.public_id, run.attempt, status) for run in moved}

    def alone(item: dict[str, Any]) -> tuple[str, str]:
        done = transitions.report_status(
            agent,
            item["id"],
            attempt=item["attempt"],
            claim_id=item["claim_id"],
            to=Status(item["status"]),
            message=item.get("message", ""),
            progress=item.get("progress"),
        )
        return done.status, ""

    return [
        Answered(item["id"], item["attempt"], "ok", item["status"])
        if (item["id"], item["attempt"], item["status"]) in made
        else _explained(item, alone)
        for item in items
    ]


def finish_all(agent: Agent, items: list[dict[str, Any]]) -> list[Answered]:
    """Take many results at once: each as `results.finish` would take it alone.

    Equal reports of runs that need nothing but to be ended go in one statement; the rest, and those
    that this did not end, one by one.
    """
    plain = _plain(agent, items)
    digests = [results.digest_of(_report(item)) for item in items]
    groups: dict[str, list[dict[str, Any]]] = {}
    for item, digest in zip(items, digests, strict=True):
        if (item["id"], item["attempt"]) in plain:
            groups.setdefault(digest, []).append(item)
    made: dict[tuple[UUID, int, str], str] = {}
    sites: set[int | None] = set()
    for digest, same in groups.items():
        report = _report(same[0])
        to = Status(report["status"])
        columns, reason = results.columns_of(report, digest, found=None)
        these = sql.one_of_pairs(
            "(run.public_id, run.attempt)", [(item["id"], item["attempt"]) for item in same]
        )
        moved = moves.write(
            Sql(f"{these.text} AND {moves.OF_AGENT}", (*these.params, agent.pk)),
            to,
            by=moves.Actor(agent=agent),
            reason=reason,
            message=columns["message"],
            columns=columns,
        )
        found = columns.get("result", "")
        made |= {(run.public_id, run.attempt, digest): found for run in moved}
        sites |= {plain[run.public_id, run.attempt] for run in moved}
    turns.come_soon({site for site in sites if site is not None})

    def alone(item: dict[str, Any]) -> tuple[str, str]:
        outcome = results.finish(agent, item["id"], attempt=item["attempt"], report=_report(item))
        if isinstance(outcome, results.Late):
            raise transitions.already_final(outcome.run)
        return outcome.run.status, outcome.run.result

    answered = []
    for item, digest in zip(items, digests, strict=True):
        key = (item["id"], item["attempt"], digest)
        # The same run twice with different results: the second is a conflict.
        if key in made:
            done = Answered(item["id"], item["attempt"], "ok", item["status"], made[key])
        else:
            done = _explained(item, alone)
        answered.append(done)
    return answered


def _report(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("id", "attempt")}


def _plain(agent: Agent, items: list[dict[str, Any]]) -> dict[tuple[UUID, int], int | None]:
    """Which of them are of runs without a snapshot and with nothing in which a secret could be;
    with the site in whose turn the run was, or None.
    """
    pairs = [(item["id"], item["attempt"]) for item in items]
    these = sql.one_of_pairs("(run.public_id, run.attempt)", pairs)
    found = sql.rows(
        Sql(
            "SELECT run.public_id, run.attempt, CASE WHEN run.in_turn THEN run.site_id END"
            " FROM jobs_jobrun AS run"
            f" JOIN sites_target AS target ON target.id = run.target_id WHERE {these.text}"
            f" AND {moves.OF_AGENT} AND NOT run.makes_snapshot"
            " AND run.credential_id IS NULL"
            " AND CAST(run.parameters AS TEXT) = '{}' AND CAST(target.settings AS TEXT) = '{}'",
            (*these.params, agent.pk),
        )
    )
    return {(sql.as_uuid(pk), attempt): site for pk, attempt, site in found}


def _explained(
    item: dict[str, Any], alone: Callable[[dict[str, Any]], tuple[str, str]]
) -> Answered:
    """Take one item by itself and say what became of it."""
    try:
        status, result = alone(item)
    except Refused as refusal:
        status_now = refusal.more.get("run_status")
        return Answered(item["id"], item["attempt"], refusal.code, status_now)
    return Answered(item["id"], item["attempt"], "ok", status, result)
