"""Decides how snapshots leave the vault, so that their bytes really go and the others stay."""

import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from sites.durable import fsync_folder
from sites.vault import packs
from sites.vault.store import REFS, commit_of, delete_ref, locked, open_repository, repository_lock


def refs(path: Path) -> dict[UUID, str]:
    """Give the commit of every snapshot in the repository; empty when there is none."""
    if not path.is_dir():
        return {}
    return {
        UUID(reference.name.removeprefix(REFS)): str(reference.target)
        for reference in open_repository(path).references.iterator()
        if reference.name.startswith(REFS)
    }


def delete_snapshots(path: Path, snapshot_ids: Collection[UUID]) -> int:
    """Delete snapshots and every object that no other snapshot needs; give how many there were.

    All refs go first, then one repack. A crash between leaves objects without a ref, which no
    page can reach and which go with the next repack; calling again ends the work.
    """
    if not path.is_dir():
        return 0
    with locked(repository_lock(path)):
        known = refs(path)
        going = [snapshot_id for snapshot_id in snapshot_ids if snapshot_id in known]
        for snapshot_id in going:
            delete_ref(path, snapshot_id)
        fsync_folder(path / REFS)
        packs.repack(path)
    return len(going)


def sweep_refs(path: Path, known: Collection[UUID], *, before: datetime) -> list[UUID]:
    """Delete the snapshots that no row knows and whose ref is older than `before`.

    They come from a seal whose transaction never committed. Also puts many packs together. Gives
    the ids that went.
    """
    lost = [
        snapshot_id
        for snapshot_id, commit_id in refs(path).items()
        if snapshot_id not in known and _written(path, snapshot_id, commit_id) < before
    ]
    if lost:
        delete_snapshots(path, lost)
    elif packs.count(path) > packs.MANY_PACKS:
        with locked(repository_lock(path)):
            packs.repack(path)
    return lost


def drop_vault(path: Path) -> None:
    """Remove a target's whole repository; its large content goes with the next content sweep."""
    if not path.is_dir():
        return
    trash = path.with_name(f".dropped-{path.name}")
    with locked(repository_lock(path)):
        path.rename(trash)
    fsync_folder(trash.parent)
    shutil.rmtree(trash)


def _written(path: Path, snapshot_id: UUID, commit_id: str) -> datetime:
    """Say when a ref was written; one that plain git has packed away goes by its commit."""
    try:
        seconds = (path / REFS / str(snapshot_id)).stat().st_mtime
    except FileNotFoundError:
        seconds = commit_of(open_repository(path), commit_id).commit_time
    return datetime.fromtimestamp(seconds, UTC)
