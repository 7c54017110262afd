"""Decides when what an agent sent becomes a snapshot: checked whole, packed, committed, named."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pygit2
from django.core.files.storage import Storage
from pygit2.enums import ObjectType

from sites.vault import content, packs, paths, quarantine
from sites.vault.errors import InvalidManifest, TreeMismatch
from sites.vault.manifest import Manifest
from sites.vault.quarantine import Missing, Quarantine
from sites.vault.store import (
    REFS,
    blob_size,
    locked,
    open_objects,
    open_repository,
    repository_lock,
    tree_of,
    write_ref,
)

AUTHOR = b"Yardmaster <vault@yardmaster.invalid>"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A snapshot in the vault; `files` and `bytes` count content, not pointers."""

    commit_id: str
    tree_id: str
    files: int
    bytes: int


def seal(
    root: Path,
    storage: Storage,
    repository_path: Path,
    parts: Quarantine,
    tree_id: str,
    *,
    organization_id: UUID,
    snapshot_id: UUID,
    message: str,
    when: datetime,
    room: Callable[[int], None] | None = None,
) -> Sealed:
    """Make the quarantined parts a snapshot under `refs/snapshots/<snapshot_id>`.

    Order: everything is checked, one pack brings what the repository lacks, the ref is written,
    the quarantine is dropped. A crash anywhere leaves the snapshots as they were, or with this
    one; calling again ends the work or gives the same answer, with or without the quarantine.
    """
    with locked(repository_lock(repository_path)):
        repository = open_repository(repository_path)
        done = _sealed_before(repository, tree_id, snapshot_id)
        if done is None:
            with (
                quarantine.opened(parts) as listed,
                locked(content.content_lock(root, organization_id), shared=True),
            ):
                vault = open_objects(repository_path)
                both = quarantine.all_objects(parts, repository_path)
                trees = _write_trees(listed, both, vault, tree_id)
                blobs = _checked_blobs(listed, both, storage, organization_id)
                _require_sent(listed, parts, vault)
                _check_links(listed, both)
                commit_id = both.write(
                    ObjectType.COMMIT, _commit(tree_id, message=message, when=when)
                )
                repository.odb.add_disk_alternate(str(parts.objects))
                new_blobs = [one for one in blobs if one not in vault]
                new = [*trees, *new_blobs]
                if commit_id not in vault:
                    new.append(commit_id)
                try:
                    # Names alone, as after something was removed, are let in over any limit.
                    packs.write(repository, new, parts.pack, room if new_blobs else None)
                except pygit2.GitError:
                    quarantine.require_complete(quarantine.drop_broken(parts, both, new))
                    raise
                write_ref(repository_path, snapshot_id, commit_id)
                files, size = listed.totals()
                done = Sealed(str(commit_id), tree_id, files, size)
    quarantine.drop(parts)
    return done


def measure(repository: pygit2.Repository, tree: pygit2.Tree) -> tuple[int, int]:
    """Count a tree's files and the bytes of their content."""
    files = size = 0
    ahead = [tree.id]
    while ahead:
        for entry in tree_of(repository, ahead.pop()):
            if entry.type == ObjectType.TREE:
                ahead.append(entry.id)
                continue
            stored = repository.odb.read_header(entry.id)[1]
            pointer = content.read_pointer(repository.odb, entry.id, stored)
            files += 1
            size += pointer.size if pointer else stored
    return files, size


def _sealed_before(repository: pygit2.Repository, tree_id: str, snapshot_id: UUID) -> Sealed | None:
    reference = repository.references.get(f"{REFS}{snapshot_id}")
    if reference is None:
        return None
    commit = reference.peel(pygit2.Commit)
    if str(commit.tree_id) != tree_id:
        raise TreeMismatch(
            f"This snapshot was sealed with tree {commit.tree_id}, not {tree_id[:40]!a}."
        )
    return Sealed(str(commit.id), tree_id, *measure(repository, commit.tree))


def _write_trees(
    listed: Manifest, both: pygit2.Odb, vault: pygit2.Odb, tree_id: str
) -> list[pygit2.Oid]:
    """Build the manifest's trees, keep those that the vault lacks, and check the root's id."""
    new = []
    root = b""
    for root, data in listed.trees():
        if (wanted := pygit2.Oid(raw=root)) not in vault:
            both.write(ObjectType.TREE, data)
            new.append(wanted)
    if root.hex() != tree_id:
        raise TreeMismatch(f"The manifest gives the tree {root.hex()}, not {tree_id[:40]!a}.")
    return new


def _checked_blobs(
    listed: Manifest, both: pygit2.Odb, storage: Storage, organization_id: UUID
) -> list[pygit2.Oid]:
    """Find every blob and all large content where they must be; give the blobs' ids."""
    lacking = Missing([], [])
    ids = []
    for raw, size in listed.blobs():
        object_id = pygit2.Oid(raw=raw)
        found = blob_size(both, object_id)
        if found is None:
            lacking.objects.append(raw.hex())
        elif found != size:
            raise InvalidManifest(
                f"Object {raw.hex()} has {found} bytes; the manifest says {size}."
            )
        elif content.read_pointer(both, object_id, size):
            raise InvalidManifest(
                f"Object {raw.hex()} is a file that looks like a pointer to a large one, "
                "and cannot be stored: leave it out."
            )
        else:
            ids.append(object_id)
    for pointer in listed.pointers():
        if content.is_stored(storage, organization_id, pointer):
            ids.append(both.write(ObjectType.BLOB, pointer.blob()))
        else:
            lacking.content.append(pointer.sha256)
    quarantine.require_complete(lacking)
    return ids


def _require_sent(listed: Manifest, parts: Quarantine, vault: pygit2.Odb) -> None:
    """See that all large content was uploaded for this snapshot or is this target's already.

    The organization's storage may hold it for another target; who knows a hash could read it there.
    """
    unsent = [
        pointer.sha256
        for pointer in listed.pointers()
        if not parts.mark(pointer.sha256).exists() and pointer.object_id() not in vault
    ]
    quarantine.require_complete(Missing([], unsent))


def _check_links(listed: Manifest, both: pygit2.Odb) -> None:
    """See that no link leaves the tree, now that all their targets can be read."""
    targets = {path: both.read(pygit2.Oid(raw=object_id))[1] for path, object_id in listed.links()}
    for path in targets:
        paths.check_link(path, targets)


def _commit(tree_id: str, *, message: str, when: datetime) -> bytes:
    """Write a commit without parents: any snapshot can go without the others noticing."""
    signature = AUTHOR + b" %d +0000" % int(when.astimezone(UTC).timestamp())
    text = message.replace("\0", "").strip().encode(errors="replace")
    return b"tree %b\nauthor %b\ncommitter %b\n\n%b\n" % (
        tree_id.encode(),
        signature,
        signature,
        text,
    )
