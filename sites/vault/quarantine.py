"""Decides what a snapshot on its way may put on disk before anything of it is trusted.

A quarantine is a folder per snapshot: its manifest, the objects that arrived, marks for the large
content that was uploaded for it, and the pack while it is made. The repository never reads from
it; what a seal does not take with it is dropped whole.

Objects here are not forced to disk one by one. After a power cut some may be missing or broken;
then seal says which, and the agent sends them again. Nothing is durable before the seal.
"""

import hashlib
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pygit2
from pygit2.enums import ObjectType

from sites.durable import fsync_folder, make_folder
from sites.files import Readable, TooLarge
from sites.vault import manifest
from sites.vault.content import OBJECT_BYTES
from sites.vault.errors import IncompleteSnapshot, InvalidObjects, NoManifest, WrongHash
from sites.vault.manifest import Manifest
from sites.vault.store import blob_size, open_objects

_KEY = re.compile(r"[0-9a-z][0-9a-z-]{0,99}")
_HEADER_BYTES = 24


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Where one snapshot's parts wait."""

    path: Path

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.sqlite"

    @property
    def pack(self) -> Path:
        return self.path / "pack"

    def mark(self, sha256: str) -> Path:
        """Name the file that says: this content was uploaded for this snapshot."""
        return self.path / "content" / sha256


@dataclass(frozen=True, slots=True)
class Missing:
    """What the agent has to send: git object ids, and SHA-256s of large content."""

    objects: list[str]
    content: list[str]


def place(root: Path, target_id: UUID, key: str) -> Quarantine:
    """Give a snapshot's quarantine, whether or not it exists."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} cannot name a snapshot's quarantine.")
    return Quarantine(root / "quarantine" / f"{target_id}.{key}")


def begin(quarantine: Quarantine) -> None:
    """Make the quarantine's folders when they are not there.

    Raises NoManifest where another request of the attempt drops it at this moment.
    """
    try:
        make_folder(quarantine.path)
    except FileExistsError:
        # It was there, and a moment later was not.
        raise NoManifest from None
    with while_there(quarantine):
        for folder in (quarantine.objects, quarantine.pack, quarantine.path / "content"):
            folder.mkdir(exist_ok=True)
        # The sweep goes by this time.
        os.utime(quarantine.path)


def take_manifest(
    quarantine: Quarantine,
    repository: Path,
    lines: Iterable[bytes],
    *,
    max_bytes: int | None,
) -> Missing:
    """Store the manifest once it is whole and safe, and say what neither side of the wall has."""
    begin(quarantine)
    with while_there(quarantine):
        manifest.write(quarantine.manifest, lines, max_bytes=max_bytes)
        fsync_folder(quarantine.path.parent)
        return missing(quarantine, repository)


def missing(quarantine: Quarantine, repository: Path) -> Missing:
    """Compare the manifest with the vault and the quarantine.

    Content counts as there when this snapshot uploaded it, or an older snapshot of the same
    target points at it; that it is still in storage is asked at seal.
    """
    both = all_objects(quarantine, repository)
    vault = open_objects(repository)
    with opened(quarantine) as listed:
        return Missing(
            objects=[
                object_id.hex()
                for object_id, _ in listed.blobs()
                if pygit2.Oid(raw=object_id) not in both
            ],
            content=[
                pointer.sha256
                for pointer in listed.pointers()
                if not quarantine.mark(pointer.sha256).exists() and pointer.object_id() not in vault
            ],
        )


def take_objects(quarantine: Quarantine, repository: Path, stream: Readable, *, limit: int) -> int:
    """Take framed blobs (20 bytes id, 4 bytes length, the bytes) until the stream ends.

    Holds one object in memory. Each is hashed before it is stored; those before an error stay,
    which is harmless as an object's id is its content.
    """
    with while_there(quarantine), opened(quarantine) as listed:
        both = all_objects(quarantine, repository)
        os.utime(quarantine.path)
        received = 0
        taken = 0
        while header := _read(stream, _HEADER_BYTES):
            if len(header) < _HEADER_BYTES:
                raise InvalidObjects("The stream ends in the middle of an object's header.")
            object_id, length = header[:20], int.from_bytes(header[20:], "big")
            name = object_id.hex()
            if length > OBJECT_BYTES:
                raise TooLarge(f"Object {name} is over {OBJECT_BYTES} bytes: send it as content.")
            taken += _HEADER_BYTES + length
            if taken > limit:
                raise TooLarge(f"One request takes at most {limit} bytes of objects.")
            if not listed.lists(object_id, length):
                raise InvalidObjects(
                    f"Object {name} of {length} bytes is not in this snapshot's manifest."
                )
            data = _read(stream, length)
            if len(data) < length:
                raise InvalidObjects(f"The stream ends in the middle of object {name}.")
            if hashlib.sha1(b"blob %d\0" % length + data).digest() != object_id:
                raise WrongHash(f"The bytes sent as object {name} have another id.")
            loose = _loose(quarantine, name)
            # git never writes over an object that is there, be it broken by a power cut.
            if os.path.exists(loose) and blob_size(both, pygit2.Oid(raw=object_id)) != length:
                os.unlink(loose)
            both.write(ObjectType.BLOB, data)
            received += 1
    return received


@contextmanager
def while_there(quarantine: Quarantine) -> Iterator[None]:
    """Raise NoManifest for what fails because the quarantine, once begun, was taken away meanwhile.

    A seal does that, and a refusal for room: of a request that came twice, the other one's.
    """
    try:
        # Held open, so that no folder of its name that is begun anew can pass for it.
        folder = os.open(quarantine.path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise NoManifest from None
    try:
        yield
    except (pygit2.GitError, sqlite3.Error, OSError) as error:
        if _is_at(folder, quarantine.path) and not isinstance(error, FileNotFoundError):
            raise
        raise NoManifest from error
    finally:
        os.close(folder)


def _is_at(folder: int, path: Path) -> bool:
    """Say whether an open folder is the one that the path leads to now."""
    try:
        return os.path.samestat(os.fstat(folder), os.stat(path))
    except FileNotFoundError:
        return False


def opened(quarantine: Quarantine) -> Manifest:
    """Open the stored manifest; raise NoManifest when none was sent."""
    if not manifest.exists(quarantine.manifest):
        raise NoManifest
    return Manifest(quarantine.manifest)


def all_objects(quarantine: Quarantine, repository: Path) -> pygit2.Odb:
    """Open the quarantine's objects for writing, with the vault's behind them for reading."""
    objects = pygit2.Odb(str(quarantine.objects))
    objects.add_disk_alternate(str(repository / "objects"))
    return objects


def drop(quarantine: Quarantine) -> None:
    """Remove a quarantine with all that is in it; nothing happens when there is none."""
    trash = quarantine.path.with_name(f".dropped-{secrets.token_hex(8)}")
    try:
        # Out of sight at once, so that no one meets half of it.
        os.rename(quarantine.path, trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)


def sweep(root: Path, *, before: datetime) -> int:
    """Drop the quarantines that nothing came to since `before`, and remains of earlier drops."""
    dropped = 0
    folder = root / "quarantine"
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            old = path.stat().st_mtime < before.timestamp()
        except FileNotFoundError:
            continue
        if old:
            drop(Quarantine(path))
            dropped += 1
    return dropped


def drop_broken(
    quarantine: Quarantine, objects: pygit2.Odb, object_ids: Iterable[pygit2.Oid]
) -> Missing:
    """Remove the objects that a power cut left unreadable here, and say which have to come again.

    Reading checks an object against its id.
    """
    broken = []
    for object_id in object_ids:
        try:
            objects.read(object_id)
        except (KeyError, pygit2.GitError):
            Path(_loose(quarantine, str(object_id))).unlink(missing_ok=True)
            broken.append(str(object_id))
    return Missing(broken, [])


def _loose(quarantine: Quarantine, name: str) -> str:
    """Name the file of an object that came in here."""
    return f"{quarantine.path}/objects/{name[:2]}/{name[2:]}"


def _read(stream: Readable, size: int) -> bytes:
    """Read exactly `size` bytes, or what there is before the end."""
    pieces = []
    while size > 0 and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def require_complete(lacking: Missing) -> None:
    """Raise IncompleteSnapshot when anything is missing."""
    if lacking.objects or lacking.content:
        count = len(lacking.objects) + len(lacking.content)
        raise IncompleteSnapshot(
            f"{count} of the objects that the manifest names have not arrived.",
            missing=lacking.objects,
            missing_content=lacking.content,
        )
