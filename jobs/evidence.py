"""What a run leaves while it is at work: its log, its files, its records."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import F

from agents.models import Agent
from sites import files, quota
from sites.files import Readable
from sites.problems import Refused
from sites.storage import stored_below

from . import transitions
from .masking import masked, secrets_of
from .models import JobRun, RunFile, RunLog, RunRecord
from .states import BEGUN, EXECUTING, FINAL

CHUNK_LIMIT = 8 * 1024 * 1024
FILE_LIMIT = 20 * 1024**3
_OF_RUN = re.compile(r"runs/[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/[^/]+")


def executing(agent: Agent, public_id: UUID, attempt: int) -> JobRun:
    """Fetch a run that this attempt holds now; Refused `stale_attempt` or `already_final` else."""
    run = transitions.held_run(agent, public_id, attempt=attempt)
    if run.status in FINAL:
        raise transitions.already_final(run)
    if run.status not in EXECUTING:
        raise transitions.stale(run, attempt)
    return run


def at_work(agent: Agent, public_id: UUID, attempt: int) -> JobRun:
    """Fetch a run that this attempt holds and has begun; Refused `not_begun` for one only claimed.

    A claim can still go back to the queue: what it left would pass for the next attempt's work.
    """
    run = executing(agent, public_id, attempt)
    if run.status not in BEGUN:
        raise Refused(
            "not_begun",
            f"Run {run.public_id} is only claimed: report `running` before its work begins.",
            run_status=run.status,
        )
    return run


def append_log(agent: Agent, public_id: UUID, *, attempt: int, offset: int, text: str) -> int:
    """Add a piece of log at its offset, masked; gives the new length in bytes as sent.

    The length on the run is moved by one conditional UPDATE, so of five equal requests one writes.
    The same piece again gives the length; another offset is Refused `offset_mismatch` (416).
    A secret that is cut in two by the end of a piece is masked in the piece that brings its rest.
    """
    raw = text.encode()
    digest = hashlib.sha256(raw).hexdigest()
    run = at_work(agent, public_id, attempt)
    if not raw:
        return run.log_length
    secrets = secrets_of(run)
    with transaction.atomic():
        if JobRun.objects.filter(
            pk=run.pk, attempt=attempt, agent=agent, status__in=BEGUN, log_length=offset
        ).update(log_length=F("log_length") + len(raw)):
            clean = masked(_take_back(run, secrets, text) + text, secrets)
            RunLog.objects.create(
                run_id=run.pk, offset=offset, size=len(raw), sha256=digest, text=clean
            )
            return offset + len(raw)
    run = at_work(agent, public_id, attempt)
    if RunLog.objects.filter(run=run, offset=offset, size=len(raw), sha256=digest).exists():
        return offset + len(raw)
    raise Refused(
        "offset_mismatch",
        f"The log is {run.log_length} bytes long; go on from there.",
        status=416,
        length=run.log_length,
    )


def _take_back(run: JobRun, secrets: list[str], text: str) -> str:
    """Take the beginning of a secret, whose rest is in `text`, out of the pieces before; give it.

    Runs inside the transaction that has moved the run's log length, so no one else adds a piece.
    """
    if not secrets:
        return ""
    reach = max(map(len, secrets)) - 1
    pieces: list[RunLog] = []
    before = ""
    for piece in RunLog.objects.filter(run=run).order_by("-offset").iterator(chunk_size=8):
        if len(before) >= reach:
            break
        pieces.append(piece)
        before = piece.text + before
    joined = before + text[:reach]
    cuts = [
        at
        for secret in secrets
        for at in range(max(0, len(before) - len(secret) + 1), len(before))
        if joined.startswith(secret, at)
    ]
    if not cuts:
        return ""
    taken = before[min(cuts) :]
    left = len(taken)
    for piece in pieces:
        gone = min(left, len(piece.text))
        if gone:
            piece.text = piece.text[: len(piece.text) - gone]
            piece.save(update_fields=["text"])
        left -= gone
    return taken


def log_of(run: JobRun, *, offset: int = 0, most: int = 1024 * 1024) -> tuple[str, int]:
    """Read the masked log from an offset (of a piece): the text, and where the next one begins."""
    text: list[str] = []
    end, size = offset, 0
    for piece in RunLog.objects.filter(run=run, offset__gte=offset).order_by("offset").iterator():
        if text and size + piece.size > most:
            break
        text.append(piece.text)
        size += piece.size
        end = piece.offset + piece.size
    return "".join(text), end


def stage_file(
    agent: Agent,
    public_id: UUID,
    *,
    attempt: int,
    file_id: UUID,
    offset: int,
    stream: Readable,
    announced: int = 0,
) -> int:
    """Take a chunk of a file; gives how much of it is staged.

    `announced` is the length that the request says it has: over the organization's limit, nothing
    of it is read.
    """
    run = at_work(agent, public_id, attempt)
    quota.require_room(run.organization_id, offset + announced)
    return files.append(
        _folder(run), file_id, offset, stream, limit=CHUNK_LIMIT, max_size=FILE_LIMIT
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of a run, and whether it was made now."""

    file: RunFile
    created: bool


def close_file(
    agent: Agent,
    public_id: UUID,
    *,
    attempt: int,
    file_id: UUID,
    name: str,
    media_type: str,
    size: int,
    sha256: str,
) -> Kept:
    """Make an uploaded file one of the run's: the blob is durable before the row is committed.

    The same id and hash again give the same file; others are Refused `upload_conflict`.
    """
    run = at_work(agent, public_id, attempt)
    known = RunFile.objects.filter(run=run, public_id=file_id).first()
    if known is None:
        quota.require_room(run.organization_id, size)
        stored = files.close(
            _folder(run),
            file_id,
            name=f"runs/{run.organization.public_id}/{run.public_id}/{file_id}",
            size=size,
            sha256=sha256,
        )
        try:
            with transaction.atomic():
                quota.count_in(run.organization_id, stored, size)
                made = RunFile.objects.create(
                    run=run,
                    public_id=file_id,
                    name=name,
                    media_type=media_type,
                    size=size,
                    sha256=sha256,
                    storage_name=stored,
                )
            return Kept(made, created=True)
        except IntegrityError:
            known = RunFile.objects.get(run=run, public_id=file_id)
    if (known.size, known.sha256) != (size, sha256):
        raise Refused("upload_conflict", f"File {file_id} is there with other content.")
    return Kept(known, created=False)


def _folder(run: JobRun) -> str:
    return f"run-{run.public_id}"


def sweep(*, before: datetime) -> int:
    """Throw away stored files that belong to no run, or to one that ended before without them.

    A run that is at work may still be told the close of an upload whose answer was lost.
    """
    swept = 0
    old = (one.name for one in stored_below("runs") if one.modified < before)
    while names := list(islice(old, 500)):
        runs = {name: found[1] for name in names if (found := _OF_RUN.fullmatch(name))}
        open_still = JobRun.objects.filter(public_id__in=set(runs.values())).exclude(
            finished_at__lt=before
        )
        kept = {str(public_id) for public_id in open_still.values_list("public_id", flat=True)}
        rows = RunFile.objects.filter(run__public_id__in=set(runs.values()))
        known = set(rows.values_list("storage_name", flat=True))
        lost = [name for name, run in runs.items() if run not in kept and name not in known]
        quota.count_out(lost)
        for name in lost:
            default_storage.delete(name)
        swept += len(lost)
    return swept


def add_records(
    agent: Agent, public_id: UUID, *, attempt: int, records: list[dict[str, Any]]
) -> int:
    """Store records in bulk and give how many are new; a sequence number that is there stays."""
    run = at_work(agent, public_id, attempt)
    secrets = secrets_of(run)
    numbers = [record["sequence"] for record in records]
    if not numbers:
        return 0
    same = RunRecord.objects.filter(run=run, sequence__range=(min(numbers), max(numbers)))
    with transaction.atomic():
        before = same.count()
        RunRecord.objects.bulk_create(
            (
                RunRecord(
                    run=run,
                    sequence=record["sequence"],
                    record_id=masked(record.get("record_id") or "", secrets)[:200],
                    name=masked(record.get("name") or "", secrets)[:300],
                    status=record["status"],
                    result=masked(record.get("result") or "", secrets),
                    error=masked(record.get("error") or "", secrets),
                    processed_at=record.get("processed_at"),
                )
                for record in records
            ),
            ignore_conflicts=True,
            batch_size=1000,
        )
        return same.count() - before
