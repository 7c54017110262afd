"""The vault: every snapshot of every target, in one bare git repository per target.

This is the door to it. The functions here take ids, know where `settings.VAULT_ROOT` and Django's
file storage are, and leave the work to the modules beside them:

    paths        which names and links a snapshot may hold
    manifest     what the agent says is in it            quarantine   what it sent so far
    content      files too large for git                 sealing      the moment it becomes one
    packs        how objects come and go                 retention    how snapshots go again
    tree         reading folders and files               changes      what differs between two
    diff         one file's lines (lines, comments, pattern, text: its parts)

Nothing here knows of requests, users or rows. Who may see a snapshot is asked before; the database
says which snapshots exist and which are accepted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage

from sites import files
from sites.files import Readable
from sites.vault import changes, content, file_diff, packs, quarantine, retention, sealing, store
from sites.vault import tree as reading
from sites.vault.changes import Changes, Counts, FileChange
from sites.vault.content import OBJECT_BYTES, Pointer
from sites.vault.diff import EVERYTHING, Hunk, Line, Options, Row, TextDiff
from sites.vault.errors import (
    IncompleteSnapshot,
    InvalidManifest,
    InvalidObjects,
    NoManifest,
    NotInVault,
    TreeMismatch,
    UnsafePath,
    VaultError,
    WrongHash,
)
from sites.vault.file_diff import FileDiff
from sites.vault.manifest import manifest_lines
from sites.vault.pattern import PatternRefused
from sites.vault.quarantine import Missing
from sites.vault.sealing import Sealed
from sites.vault.tree import Entry, Preview

__all__ = [
    "EMPTY_TREE",
    "OBJECT_BYTES",
    "Changes",
    "Counts",
    "Entry",
    "FileChange",
    "FileDiff",
    "Hunk",
    "IncompleteSnapshot",
    "InvalidManifest",
    "InvalidObjects",
    "Line",
    "Missing",
    "NoManifest",
    "NotInVault",
    "Options",
    "PatternRefused",
    "Pointer",
    "Preview",
    "Row",
    "Sealed",
    "TextDiff",
    "TreeMismatch",
    "UnsafePath",
    "VaultError",
    "WrongHash",
    "append_content",
    "begin",
    "close_content",
    "compare",
    "content_name",
    "delete_snapshots",
    "drop_quarantine",
    "drop_vault",
    "entries",
    "entry",
    "file_diff_between",
    "manifest_lines",
    "packed_size",
    "packs_name",
    "preview",
    "refs",
    "seal",
    "stored_name",
    "stream",
    "sweep_content",
    "sweep_quarantines",
    "sweep_refs",
    "take_manifest",
    "take_objects",
    "walk",
]

# The id of a tree without entries, known to every git.
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def _root() -> Path:
    return Path(settings.VAULT_ROOT)


def _repository(target_id: UUID) -> Path:
    return store.repository_path(_root(), target_id)


def _quarantine(target_id: UUID, key: str) -> quarantine.Quarantine:
    return quarantine.place(_root(), target_id, key)


def _staged(target_id: UUID, key: str) -> str:
    """Name the folder in which large content waits until it is whole."""
    return f"content/{target_id}.{key}"


# A snapshot on its way. `key` names one attempt, as "<run>-<attempt>".


def begin(target_id: UUID, key: str) -> None:
    """Make the target's repository and the attempt's quarantine where they are missing."""
    store.ensure_repository(_repository(target_id))
    quarantine.begin(_quarantine(target_id, key))


def take_manifest(
    target_id: UUID, key: str, lines: Iterable[bytes], *, max_bytes: int | None = None
) -> Missing:
    """Check and store the manifest, and say which objects and content the agent has to send.

    `lines` is what `manifest_lines(request)` gives. All or nothing: after an error the manifest
    sent before (if any) still holds. Raises UnsafePath, InvalidManifest, and NoManifest when the
    quarantine was dropped meanwhile.
    """
    store.ensure_repository(_repository(target_id))
    return quarantine.take_manifest(
        _quarantine(target_id, key),
        _repository(target_id),
        lines,
        max_bytes=max_bytes,
    )


def take_objects(target_id: UUID, key: str, stream: Readable, *, limit: int) -> int:
    """Take framed blobs and give their number; what came before an error stays.

    Raises InvalidObjects, WrongHash, NoManifest, and `files.TooLarge` over `limit` bytes.
    """
    return quarantine.take_objects(
        _quarantine(target_id, key), _repository(target_id), stream, limit=limit
    )


def append_content(
    target_id: UUID,
    key: str,
    sha256: str,
    offset: int,
    stream: Readable,
    *,
    limit: int,
    max_size: int,
) -> int:
    """Stage one piece of a large file and give the staged length, as `files.append` does."""
    return files.append(
        _staged(target_id, key), sha256, offset, stream, limit=limit, max_size=max_size
    )


def close_content(
    target_id: UUID,
    key: str,
    sha256: str,
    *,
    size: int,
    organization_id: UUID,
    stored: Callable[[str], None] = lambda name: None,
) -> bool:
    """Store a staged large file for the organization; False when this was done before.

    `stored` is told its name in storage while no sweep can take it away; after what it raises the
    bytes have to be sent again. Raises `files.HashMismatch`, `files.NothingStaged`, NoManifest.
    """
    here, staged = _quarantine(target_id, key), _staged(target_id, key)
    quarantine.begin(here)
    with quarantine.while_there(here):
        # One after the other: who comes second finds the mark of the first.
        with store.locked(here.path / "content.lock"):
            there = content.is_stored(default_storage, organization_id, Pointer(sha256, size))
            if here.mark(sha256).exists() and there:
                files.discard(staged, sha256)
                return False
            if not files.length(staged, sha256):
                # The storage may have it from another target: knowing its hash is not having it.
                raise files.NothingStaged("Nothing of this content has arrived.")
            with store.locked(content.content_lock(_root(), organization_id), shared=True):
                name = content.storage_name(organization_id, sha256)
                files.close(staged, sha256, name=name, size=size, sha256=sha256)
                stored(name)
            here.mark(sha256).touch()
        return True


def seal(
    target_id: UUID,
    key: str,
    tree_id: str,
    *,
    organization_id: UUID,
    snapshot_id: UUID,
    message: str,
    when: datetime,
    room: Callable[[int], None] | None = None,
) -> Sealed:
    """Turn what was sent into a snapshot, durable when this returns.

    Repeatable: the same snapshot with the same tree gives the same answer, also after a crash.
    `room` is told how many bytes git needs for new content, and raises where there is none.
    Raises NoManifest, TreeMismatch, InvalidManifest, UnsafePath (a link), IncompleteSnapshot.
    """
    store.ensure_repository(_repository(target_id))
    return sealing.seal(
        _root(),
        default_storage,
        _repository(target_id),
        _quarantine(target_id, key),
        tree_id,
        organization_id=organization_id,
        snapshot_id=snapshot_id,
        message=message,
        when=when,
        room=room,
    )


def drop_quarantine(target_id: UUID, key: str) -> None:
    """Throw away what an attempt has sent, but for large content that is stored already.

    What comes at the same moment is answered NoManifest; a seal asks for room while it holds the
    repository, so that another one of the attempt finds all of it or nothing.
    """
    quarantine.drop(_quarantine(target_id, key))
    files.discard_all(_staged(target_id, key))


# Reading. `commit_id` is a snapshot's commit; every function raises NotInVault for what is gone.


def entries(target_id: UUID, commit_id: str, folder: str = "") -> list[Entry]:
    """List a folder of a snapshot, folders first."""
    return reading.entries(_repository(target_id), commit_id, folder)


def entry(target_id: UUID, commit_id: str, path: str) -> Entry:
    """Find one file or link of a snapshot."""
    return reading.entry(_repository(target_id), commit_id, path)


def walk(target_id: UUID, commit_id: str) -> Iterator[Entry]:
    """Give every file and link of a snapshot."""
    return reading.walk(_repository(target_id), commit_id)


def preview(target_id: UUID, file: Entry) -> Preview:
    """Give a file's text up to 2 MB, safe to show, or the reason why there is none."""
    return reading.preview(_repository(target_id), file)


def stream(target_id: UUID, file: Entry, *, organization_id: UUID) -> Iterator[bytes]:
    """Give a file's bytes in pieces, for a download; the organization is the target's."""
    return reading.stream(_repository(target_id), default_storage, organization_id, file)


def stored_name(file: Entry, *, organization_id: UUID) -> str | None:
    """Name a large file's content in file storage; None for what lies in git itself."""
    return content_name(organization_id, file.sha256) if file.sha256 else None


def content_name(organization_id: UUID, sha256: str) -> str:
    """Name the organization's copy of large content in file storage."""
    return content.storage_name(organization_id, sha256)


def packs_name(organization_id: UUID, target_id: UUID) -> str:
    """Name what git holds of a target's snapshots among the things that an organization keeps."""
    return f"packs/{organization_id}/{target_id}"


def packed_size(target_id: UUID) -> int:
    """Give the bytes that git takes for a target's snapshots."""
    return packs.size(_repository(target_id))


def compare(
    target_id: UUID, old_commit: str | None, new_commit: str | None, *, count_lines: bool = True
) -> Changes:
    """Say which files differ between two snapshots, renames found; None is an empty snapshot."""
    return changes.compare(_repository(target_id), old_commit, new_commit, count_lines=count_lines)


def file_diff_between(
    target_id: UUID,
    old: tuple[str, str] | None,
    new: tuple[str, str] | None,
    options: Options = EVERYTHING,
) -> FileDiff:
    """Compare two versions of a file, each (commit, path) or None. Raises PatternRefused too."""
    return file_diff.compare_file(_repository(target_id), old, new, options)


# Keeping house.


def refs(target_id: UUID) -> dict[UUID, str]:
    """Give the commit of every snapshot that the target's repository holds."""
    return retention.refs(_repository(target_id))


def delete_snapshots(target_id: UUID, snapshot_ids: Collection[UUID]) -> int:
    """Delete snapshots with all bytes that no other snapshot of the target needs."""
    return retention.delete_snapshots(_repository(target_id), snapshot_ids)


def sweep_refs(target_id: UUID, known: Collection[UUID], *, before: datetime) -> list[UUID]:
    """Delete snapshots without a row whose ref is older than `before`; puts packs together."""
    return retention.sweep_refs(_repository(target_id), known, before=before)


def sweep_quarantines(*, before: datetime) -> int:
    """Drop what unfinished attempts left, when nothing came to it since `before`."""
    return quarantine.sweep(_root(), before=before)


def sweep_content(
    organization_id: UUID,
    target_ids: Collection[UUID],
    *,
    before: datetime,
    going: Callable[[list[str]], None] = lambda names: None,
) -> int:
    """Delete large content that no snapshot of the organization's targets points at any more.

    `going` is told the names in storage before they go, while nobody can store them again.
    """
    return content.sweep(
        _root(), default_storage, organization_id, list(target_ids), before=before, going=going
    )


def drop_vault(target_id: UUID) -> None:
    """Remove all snapshots of a target at once."""
    retention.drop_vault(_repository(target_id))
