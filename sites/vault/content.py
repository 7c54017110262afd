"""Decides how files too large for git are kept: a pointer in the tree, the bytes in file storage.

The bytes lie at `content/<organization>/<aa>/<sha256>`, shared by an organization's targets and by
no two organizations. Within one organization knowing a hash is not enough either: a target's
snapshot may point at content that an earlier snapshot of the same target pointed at, or that was
uploaded for this very snapshot. A file that merely looks like a pointer is refused at seal, so a
pointer in the vault is always one that the portal wrote.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pygit2
from django.core.files.storage import Storage
from pygit2.enums import ObjectType

from sites.storage import stored_below
from sites.vault.store import REFS, locked, open_repository, repository_path, tree_of

# Up to this size a file is a git blob; above it is large content.
OBJECT_BYTES = 8 * 1024 * 1024

_POINTER = re.compile(
    rb"yardmaster large file v1\nsha256 ([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,18})\n"
)
POINTER_SIZES = range(104, 124)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a tree holds in place of a large file."""

    sha256: str
    size: int

    def blob(self) -> bytes:
        """Give the exact bytes of the pointer, the same on the agent and on the portal."""
        return f"yardmaster large file v1\nsha256 {self.sha256}\nsize {self.size}\n".encode()

    def object_id(self) -> pygit2.Oid:
        """Give the git id of the pointer's blob."""
        return pygit2.hash(self.blob())


def pointer_in(data: bytes) -> Pointer | None:
    """Read a pointer blob; None for any other bytes."""
    match = _POINTER.fullmatch(data)
    return Pointer(match[1].decode(), int(match[2])) if match else None


def read_pointer(objects: pygit2.Odb, object_id: pygit2.Oid, size: int) -> Pointer | None:
    """Read the blob as a pointer, if its size could be one's."""
    if size not in POINTER_SIZES:
        return None
    return pointer_in(objects.read(object_id)[1])


def storage_name(organization_id: UUID, sha256: str) -> str:
    """Name the organization's copy of the content in file storage."""
    return f"content/{organization_id}/{sha256[:2]}/{sha256}"


def is_stored(storage: Storage, organization_id: UUID, pointer: Pointer) -> bool:
    """Say whether the organization's storage holds the whole content."""
    name = storage_name(organization_id, pointer.sha256)
    try:
        return storage.size(name) == pointer.size
    except FileNotFoundError:
        return False


def content_lock(root: Path, organization_id: UUID) -> Path:
    """Name the lock that a seal shares and a sweep holds alone.

    A seal holds it from finding the content to writing the ref that keeps it.
    """
    folder = root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{organization_id}.content"


def sweep(
    root: Path,
    storage: Storage,
    organization_id: UUID,
    target_ids: list[UUID],
    *,
    before: datetime,
    going: Callable[[list[str]], None],
) -> int:
    """Delete the organization's content that no snapshot points at and that is older than `before`.

    `target_ids` must be every target of the organization that has or had snapshots. The long walk
    is made without the lock; under it only the snapshots sealed meanwhile are walked.
    """
    if next(stored_below(f"content/{organization_id}"), None) is None:
        return 0
    walked: dict[pygit2.Oid, set[str]] = {}
    for target_id in target_ids:
        _collect(repository_path(root, target_id), walked)
    with locked(content_lock(root, organization_id)):
        for target_id in target_ids:
            _collect(repository_path(root, target_id), walked)
        kept = set().union(*walked.values())
        lost = [
            one.name
            for one in stored_below(f"content/{organization_id}")
            if one.name.rsplit("/", 1)[1] not in kept and one.modified < before
        ]
        for start in range(0, len(lost), 500):
            going(lost[start : start + 500])
        for name in lost:
            storage.delete(name)
    return len(lost)


def _collect(path: Path, walked: dict[pygit2.Oid, set[str]]) -> None:
    """Add what each snapshot's tree points at, by the id of the tree."""
    if not path.is_dir():
        return
    repository = open_repository(path)
    for name in repository.references.iterator():
        if name.name.startswith(REFS):
            tree = name.peel(pygit2.Tree)
            if tree.id not in walked:
                walked[tree.id] = {pointer.sha256 for pointer in pointers(repository, tree)}


def pointers(repository: pygit2.Repository, tree: pygit2.Tree) -> Iterator[Pointer]:
    """Walk a tree's pointers, each subtree once."""
    seen: set[pygit2.Oid] = set()
    ahead = [tree.id]
    while ahead:
        tree_id = ahead.pop()
        if tree_id in seen:
            continue
        seen.add(tree_id)
        for entry in tree_of(repository, tree_id):
            if entry.type == ObjectType.TREE:
                ahead.append(entry.id)
            elif entry.id not in seen:
                seen.add(entry.id)
                size = repository.odb.read_header(entry.id)[1]
                pointer = read_pointer(repository.odb, entry.id, size)
                if pointer:
                    yield pointer
