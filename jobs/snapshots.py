"""How a run's upload becomes a snapshot, and what the portal finds in it (rules 25–28)."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import IntegrityError, transaction

from agents.models import Agent
from sites import quota, vault
from sites.files import Readable, TooLarge
from sites.models import Snapshot, Target
from sites.problems import Refused

from . import results
from .describing import described
from .evidence import at_work
from .masking import secrets_of
from .models import JobRun

MANIFEST_LIMIT = 256 * 1024 * 1024
OBJECTS_LIMIT = 16 * 1024 * 1024
CHUNK_LIMIT = 8 * 1024 * 1024
CONTENT_LIMIT = 20 * 1024**3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the portal says of a tree (None: not known yet), and what it was held against."""

    verdict: str | None
    snapshot: Snapshot | None
    base: Snapshot | None


class _Limited:
    """A stream that is refused as soon as it is longer than it may be."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self.stream, self.limit, self.left = stream, limit, limit

    def read(self, size: int, /) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise TooLarge(f"One request takes at most {self.limit} bytes here.")
        return data


def _backup(agent: Agent, public_id: UUID, attempt: int) -> tuple[JobRun, Target]:
    run = at_work(agent, public_id, attempt)
    if not run.makes_snapshot or run.target is None:
        raise Refused("no_snapshot", "This run's function produces no snapshot.")
    return run, run.target


def _key(run: JobRun) -> str:
    return f"{run.public_id}-{run.attempt}"


@contextmanager
def _or_nothing_kept(run: JobRun, target: Target) -> Iterator[None]:
    """Throw away all that a backup has sent when the block refuses it for room.

    Its agent reports the run failed, and a full portal would keep the upload of each attempt until
    the tidying. Whoever goes on all the same begins again with the manifest.
    """
    try:
        yield
    except Refused:
        vault.drop_quarantine(target.public_id, _key(run))
        raise


def _require_room(run: JobRun, target: Target, size: int, *, name: str = "") -> None:
    with _or_nothing_kept(run, target):
        quota.require_room(target.organization_id, size, name=name)


def _base(target: Target) -> Snapshot | None:
    """The accepted snapshot, as long as its files are there."""
    found = target.accepted_snapshot
    return found if found is not None and found.purged_at is None else None


def open_snapshot(agent: Agent, public_id: UUID, *, attempt: int, tree: str) -> Verdict:
    """Hold a root tree id against the accepted snapshot: the same one is `up_to_date` at once."""
    run, target = _backup(agent, public_id, attempt)
    if run.verdict:
        return _stored(run, tree)
    base = _base(target)
    if base is None or base.tree_id != tree:
        vault.begin(target.public_id, _key(run))
        return Verdict(None, None, base)
    with transaction.atomic():
        verdict = results.judge(run, agent=agent, attempt=attempt, snapshot=None, base=base)
    return Verdict(verdict, base, base)


def take_manifest(
    agent: Agent, public_id: UUID, *, attempt: int, stream: Readable
) -> vault.Missing:
    """Take the list of files; gives which objects and large contents the vault lacks.

    Refused where the organization is over its limit already. How much room the objects need is
    known when git has packed them, at the seal.
    """
    run, target = _backup(agent, public_id, attempt)
    lines = vault.manifest_lines(_Limited(stream, MANIFEST_LIMIT))
    missing = vault.take_manifest(target.public_id, _key(run), lines, max_bytes=CONTENT_LIMIT)
    if missing.objects:
        _require_room(run, target, 0)
    return missing


def take_objects(agent: Agent, public_id: UUID, *, attempt: int, stream: Readable) -> int:
    """Take framed blobs; gives how many."""
    run, target = _backup(agent, public_id, attempt)
    return vault.take_objects(target.public_id, _key(run), stream, limit=OBJECTS_LIMIT)


def stage_content(
    agent: Agent,
    public_id: UUID,
    *,
    attempt: int,
    sha256: str,
    offset: int,
    stream: Readable,
    announced: int = 0,
) -> int:
    """Take a chunk of a large file; gives how much of it is staged.

    `announced` is the length that the request says it has: over the organization's limit, nothing
    of it is read.
    """
    run, target = _backup(agent, public_id, attempt)
    name = vault.content_name(target.organization.public_id, sha256)
    _require_room(run, target, offset + announced, name=name)
    return vault.append_content(
        target.public_id,
        _key(run),
        sha256,
        offset,
        stream,
        limit=CHUNK_LIMIT,
        max_size=CONTENT_LIMIT,
    )


def close_content(agent: Agent, public_id: UUID, *, attempt: int, sha256: str, size: int) -> bool:
    """Check and keep an uploaded large file; False when it was there already."""
    run, target = _backup(agent, public_id, attempt)
    organization = target.organization
    name = vault.content_name(organization.public_id, sha256)
    with _or_nothing_kept(run, target):
        quota.require_room(organization.pk, size, name=name)
        return vault.close_content(
            target.public_id,
            _key(run),
            sha256,
            size=size,
            organization_id=organization.public_id,
            stored=lambda name: quota.count_in(organization.pk, name, size),
        )


def seal(agent: Agent, public_id: UUID, *, attempt: int, tree: str) -> Verdict:
    """Make the upload a snapshot and store the verdict; the accepted snapshot stays as it is.

    Order: pack, ref, then the row and the verdict in one transaction. A crash in between leaves a
    ref without a row, which the same seal finds again and the tidying drops after a day. What has
    no room is dropped: the same seal again is told that there is no manifest.
    """
    run, target = _backup(agent, public_id, attempt)
    if run.verdict:
        return _stored(run, tree)
    base = _base(target)
    if base is not None and base.tree_id == tree:
        return open_snapshot(agent, public_id, attempt=attempt, tree=tree)
    snapshot_id = _snapshot_id(run)
    when = run.started_at or run.created_at
    message = _subject(run, target)
    sealed = vault.seal(
        target.public_id,
        _key(run),
        tree,
        organization_id=target.organization.public_id,
        snapshot_id=snapshot_id,
        message=message,
        when=when,
        room=lambda size: _require_room(run, target, size),
    )
    count_packs(target)
    changes = vault.compare(
        target.public_id, base.commit_id if base else None, sealed.commit_id, count_lines=False
    )
    counts = changes.counts
    if run.describe_changes:
        message = described(
            target,
            base,
            sealed.commit_id,
            changes.files,
            secrets=secrets_of(run),
            plain=message,
        )
    try:
        with transaction.atomic():
            snapshot = Snapshot.objects.create(
                public_id=snapshot_id,
                organization_id=target.organization_id,
                target=target,
                base=base,
                tree_id=sealed.tree_id,
                commit_id=sealed.commit_id,
                message=message,
                files=sealed.files,
                size=sealed.bytes,
                added=counts.added,
                modified=counts.modified,
                removed=counts.removed,
                renamed=counts.renamed,
                created_by_id=run.started_by_id,
                created_at=when,
            )
            verdict = results.judge(run, agent=agent, attempt=attempt, snapshot=snapshot, base=base)
    except IntegrityError:
        # The same seal, sent twice at once: the other one has written the row and the verdict.
        run.refresh_from_db()
        return _stored(run, tree)
    return Verdict(verdict, snapshot, base)


def count_packs(target: Target) -> None:
    """Count what git holds of a target's snapshots for its organization's limit."""
    name = vault.packs_name(target.organization.public_id, target.public_id)
    quota.count_as(target.organization_id, name, lambda: vault.packed_size(target.public_id))


def _snapshot_id(run: JobRun) -> UUID:
    """Give the one snapshot id of this attempt, so that a seal that is sent again finds its own."""
    return uuid5(NAMESPACE_URL, f"urn:yardmaster:snapshot:{_key(run)}")


def _stored(run: JobRun, tree: str) -> Verdict:
    snapshot = run.snapshot
    if snapshot is None or snapshot.tree_id != tree:
        raise Refused("tree_mismatch", "Another tree was sealed for this run.", status=422)
    return Verdict(run.verdict, snapshot, run.base_snapshot)


def _subject(run: JobRun, target: Target) -> str:
    """The plain commit subject: what, and when in the site's own time."""
    when = (run.started_at or run.created_at).astimezone(zoneinfo.ZoneInfo(target.site.time_zone))
    return f"Backup of {target.name}, {when:%-d %b %Y %H:%M}"
