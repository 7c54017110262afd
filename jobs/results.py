"""How a run ends by its agent's report, and what a backup's verdict is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from agents.models import Agent
from sites.models import Snapshot, Target
from sites.problems import Refused

from . import moves, proposals, transitions, turns
from .masking import masked, secrets_of
from .models import JobRun, LateReport
from .states import BEGUN, FINAL, MOVES, Reason, Result, Status

# What of a report is free text, in which a secret may stand.
TEXTS = ("message", "summary", "error")


@dataclass(frozen=True, slots=True)
class Ended:
    """The run as it is now, and whether this very report had ended it before."""

    run: JobRun
    replayed: bool


@dataclass(frozen=True, slots=True)
class Late:
    """The run had ended otherwise; the report is kept and changes nothing."""

    run: JobRun


def finish(agent: Agent, public_id: UUID, *, attempt: int, report: dict[str, Any]) -> Ended | Late:
    """End a run as its holder reports (rule 18), accepted snapshot included, in one transaction.

    The same body again replays; another body is Refused `result_conflict`, a wrong attempt
    `stale_attempt`, a backup completed without seal `not_sealed`. After a final state that this
    attempt did not report: `Late`, kept once (rule 19).
    """
    digest = digest_of(report)
    to = Status(report["status"])
    for _ in range(3):
        run = transitions.held_run(agent, public_id, attempt=attempt)
        if run.status in FINAL:
            return _after_the_end(agent, run, attempt, digest, report)
        if to not in MOVES[Status(run.status)]:
            raise Refused(
                "illegal_move", f"A run cannot go from {run.status} to {to}.", run_status=run.status
            )
        with transaction.atomic():
            if _end(run, to, agent, digest, report):
                if run.in_turn and run.site_id is not None:
                    turns.come_soon({run.site_id})
                return Ended(run, replayed=False)
    raise transitions.stale(run, attempt)


def digest_of(report: dict[str, Any]) -> str:
    """What tells one report from another: SHA-256 of its canonical JSON."""
    return hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()


def columns_of(
    report: dict[str, Any], digest: str, *, found: JobRun | None
) -> tuple[dict[str, Any], str]:
    """What a report changes besides the status, and the reason; masked where the run has secrets.

    `found` is the run, or None for one that makes no snapshot and has no parameters.
    """
    counts = report.get("counts") or {}
    secrets = secrets_of(found) if found is not None else []
    columns: dict[str, Any] = {
        **{name: masked(report.get(name) or "", secrets) for name in TEXTS},
        "report_hash": digest,
        **{f"count_{name}": counts[name] for name in counts if counts[name] is not None},
    }
    if report["status"] != Status.COMPLETED:
        return columns, report.get("reason") or Reason.ERROR
    return columns | {"result": str(result_of(found, counts)), "progress": 100}, ""


def _end(run: JobRun, to: Status, agent: Agent, digest: str, report: dict[str, Any]) -> bool:
    columns, reason = columns_of(report, digest, found=run)
    if not transitions.move(
        run,
        to,
        by=moves.Actor(agent=agent),
        reason=reason,
        message=columns["message"],
        columns=columns,
    ):
        return False
    if to == Status.COMPLETED and run.makes_snapshot:
        if run.auto_commit:
            _accept(run)
        if run.verdict == Result.MODIFIED and not run.auto_commit:
            proposals.propose(run)
        else:
            proposals.overtake(run)
    return True


def result_of(run: JobRun | None, counts: dict[str, Any]) -> Result:
    """Say what a completed run found: for a backup the verdict that was stored at seal."""
    if run is not None and run.makes_snapshot:
        if not run.verdict:
            raise Refused("not_sealed", "A backup is completed only after its snapshot was sealed.")
        return Result(run.verdict)
    return Result.PARTIAL if counts.get("failed") else Result.SUCCESS


def _accept(run: JobRun) -> None:
    """Make the run's snapshot the accepted one, in the transaction that completes the run.

    Only where the accepted one is still what the verdict was held against (or was purged): another
    function may have backed the target up meanwhile, and what it found must not be stepped back.
    """
    if run.snapshot_id in (None, run.base_snapshot_id):
        return
    assert run.target_id is not None  # a run of an agent has one
    # No join: the condition stands on the row itself, so it is asked again after a wait for it.
    purged = Snapshot.objects.filter(target_id=run.target_id, purged_at__isnull=False)
    same = Q(accepted_snapshot=run.base_snapshot_id) | Q(accepted_snapshot__in=purged)
    targets = Target.objects.filter(same, pk=run.target_id)
    if targets.update(accepted_snapshot=run.snapshot_id):
        Snapshot.objects.filter(pk=run.snapshot_id).update(accepted_at=Now())


def _after_the_end(
    agent: Agent, run: JobRun, attempt: int, digest: str, report: dict[str, Any]
) -> Ended | Late:
    if run.report_hash == digest:
        return Ended(run, replayed=True)
    if run.report_hash:
        raise Refused(
            "result_conflict",
            f"Attempt {attempt} of run {run.public_id} has reported another result already.",
        )
    secrets = secrets_of(run)
    clean = {
        name: masked(value or "", secrets) if name in TEXTS else value
        for name, value in report.items()
    }
    with transaction.atomic():
        _, kept = LateReport.objects.get_or_create(
            run=run, attempt=attempt, defaults={"agent": agent, "report": clean}
        )
        if kept:
            # Not a status change: pages that show the run fetch it again.
            moves.tell([run.pk], "late_report")
    return Late(run)


def judge(
    run: JobRun, *, agent: Agent, attempt: int, snapshot: Snapshot | None, base: Snapshot | None
) -> Result:
    """Store the portal's verdict on a run whose snapshot was sealed; it accepts nothing.

    `snapshot` is None where the tree is the base's own. Runs inside the caller's transaction, and
    only while this attempt is at work on the run; Refused `stale_attempt` else.
    """
    verdict = Result.UP_TO_DATE if snapshot is None or not snapshot.changes else Result.MODIFIED
    kept = JobRun.objects.filter(pk=run.pk, agent=agent, attempt=attempt, status__in=BEGUN).update(
        verdict=verdict,
        base_snapshot=base,
        snapshot=snapshot if snapshot is not None else base,
        message_due=bool(
            snapshot is not None
            and base is not None
            and run.describe_with_model
            and settings.MESSAGE_MODEL_URL
        ),
        updated_at=Now(),
    )
    if not kept:
        raise transitions.stale(run, attempt)
    run.verdict = verdict
    return verdict
