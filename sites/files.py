"""Decides how bytes sent in pieces become one stored file: staged, resumable, checked, durable.

A piece is taken whole or not at all, at exactly the offset where the staged file ends. Closing
checks size and SHA-256 and moves the file to Django's default storage; only then is the staged
file gone. What repeats (an answer was lost, five requests at once) has one effect.
"""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from io import BufferedRandom
from pathlib import Path
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, default_storage

_FOLDER_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*(/[0-9A-Za-z][0-9A-Za-z._-]*)*")
_UPLOAD = re.compile(r"[0-9a-f][0-9a-f-]{0,99}")
_PIECE = 256 * 1024
# Pieces up to this size wait in memory, larger ones on disk, until they are whole.
_IN_MEMORY = 1024 * 1024


class Readable(Protocol):
    """A request's body, a file: anything that gives up to `size` bytes, and none at the end."""

    def read(self, size: int, /) -> bytes: ...


class UploadError(Exception):
    """Anything that an upload refuses; `code` is the word that programs read on the wire."""

    code = "upload_refused"


class OffsetMismatch(UploadError):
    """A piece for another place than the end of what is staged; go on from `length`."""

    code = "offset_mismatch"

    def __init__(self, length: int) -> None:
        super().__init__(f"{length} bytes are here: go on from there.")
        self.length = length


class TooLarge(UploadError):
    """More bytes than one request, one file or one object may have."""

    code = "too_large"


class HashMismatch(UploadError):
    """Staged bytes of another size or SHA-256 than announced; they have been thrown away."""

    code = "hash_mismatch"


class NothingStaged(UploadError):
    """An upload to close of which nothing has arrived."""

    code = "nothing_staged"


def append(
    folder_key: str,
    upload_id: UUID | str,
    offset: int,
    stream: Readable,
    *,
    limit: int,
    max_size: int,
) -> int:
    """Add one piece to a staged upload and give its new length.

    `limit` is for this piece, `max_size` for the whole file. No lock is held while the stream is
    read, so a request that trickles keeps nobody waiting; a stream that breaks leaves nothing.
    """
    path = _staged(folder_key, upload_id)
    if offset != length(folder_key, upload_id) and offset != (settled := _settled_length(path)):
        raise OffsetMismatch(settled)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(path.parent)) as piece:
        size = 0
        while data := stream.read(min(_PIECE, limit - size + 1)):
            size += len(data)
            if size > limit:
                raise TooLarge(f"A piece has at most {limit} bytes.")
            if offset + size > max_size:
                raise TooLarge(f"A file here has at most {max_size} bytes.")
            piece.write(data)
        piece.seek(0)
        with _held(path, create=True) as staged:
            staged_length = os.fstat(staged.fileno()).st_size
            if offset != staged_length:
                raise OffsetMismatch(staged_length)
            staged.seek(offset)
            try:
                while data := piece.read(_PIECE):
                    staged.write(data)
                staged.flush()
            except OSError:
                # The disk is full: leave what was there.
                os.ftruncate(staged.fileno(), offset)
                raise
            return offset + size


def length(folder_key: str, upload_id: UUID | str) -> int:
    """Give how many bytes of an upload are staged."""
    try:
        return _staged(folder_key, upload_id).stat().st_size
    except FileNotFoundError:
        return 0


def close(folder_key: str, upload_id: UUID | str, *, name: str, size: int, sha256: str) -> str:
    """Move a staged upload to file storage under `name` and give the name that it got.

    Wrong size or hash: the staged bytes are dropped. When nothing is staged because an earlier
    close got this far and then lost its answer, the stored file is checked instead. `name` must
    be one that only this content or this upload can have: what lies there is replaced.
    """
    path = _staged(folder_key, upload_id)
    with ExitStack() as stack:
        try:
            if size == 0:
                # An empty file has no piece to send.
                path.parent.mkdir(parents=True, exist_ok=True)
            staged = stack.enter_context(_held(path, create=size == 0))
        except FileNotFoundError:
            if _holds(default_storage, name, size, sha256):
                return name
            raise NothingStaged("Nothing of this upload has arrived.") from None
        if os.fstat(staged.fileno()).st_size != size or _sha256(staged) != sha256:
            path.unlink()
            raise HashMismatch(
                f"The staged bytes are not {size} bytes with SHA-256 {sha256[:64]!a}; "
                "they have been dropped, send them again."
            )
        stored = _put(default_storage, name, path)
        # A storage on the same disk has moved the file; any other has copied it.
        path.unlink(missing_ok=True)
        return stored


def discard(folder_key: str, upload_id: UUID | str) -> None:
    """Throw away what is staged of an upload."""
    _staged(folder_key, upload_id).unlink(missing_ok=True)


def discard_all(folder_key: str) -> None:
    """Throw away what is staged of every upload of a folder; the folder goes with the sweep."""
    for path in _folder(folder_key).glob("*.part"):
        path.unlink(missing_ok=True)


def sweep_staging(*, before: datetime) -> int:
    """Throw away staged uploads that nothing came to since `before`; give their number."""
    root = Path(settings.STAGING_ROOT)
    swept = 0
    for path in root.rglob("*.part"):
        try:
            if path.stat().st_mtime < before.timestamp():
                path.unlink()
                swept += 1
        except FileNotFoundError:
            continue
    # Folders that this has emptied, from the inside out; those in use refuse to go.
    for folder in sorted((p for p in root.rglob("*") if p.is_dir()), reverse=True):
        try:
            if folder.stat().st_mtime < before.timestamp():
                folder.rmdir()
        except OSError:
            continue
    return swept


def _staged(folder_key: str, upload_id: UUID | str) -> Path:
    """Name the staged file; ids come from outside, so nothing but plain names is let through."""
    upload = str(upload_id)
    if not _UPLOAD.fullmatch(upload):
        raise ValueError(f"{upload!a} cannot name a staged upload.")
    return _folder(folder_key) / f"{upload}.part"


def _folder(folder_key: str) -> Path:
    if not _FOLDER_KEY.fullmatch(folder_key):
        raise ValueError(f"{folder_key!a} cannot name a folder of staged uploads.")
    return Path(settings.STAGING_ROOT) / folder_key


@contextmanager
def _held(path: Path, *, create: bool) -> Iterator[BufferedRandom]:
    """Open the staged file and hold it alone; it is released when its holder dies.

    Whoever waited may hold a file that a close has taken away meanwhile: then look again.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        with open(os.open(path, flags, 0o600), "r+b") as staged:
            fcntl.flock(staged, fcntl.LOCK_EX)
            try:
                current = os.path.samestat(os.fstat(staged.fileno()), path.stat())
            except FileNotFoundError:
                current = False
            if current:
                yield staged
                return


def _settled_length(path: Path) -> int:
    """Give the length between two pieces: in the midst of one it leads the sender astray."""
    try:
        with _held(path, create=False) as staged:
            return os.fstat(staged.fileno()).st_size
    except FileNotFoundError:
        return 0


class _StagedFile(File):
    """A staged file as Django's storages take one that lies on disk already."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb"), name=path.name)
        self._path = path

    def temporary_file_path(self) -> str:
        """Say where it lies: a storage on the same disk moves it instead of copying."""
        return str(self._path)


def _put(storage: Storage, name: str, path: Path) -> str:
    with _StagedFile(path) as staged:
        return storage.save(name, staged)


def _sha256(file: BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _holds(storage: Storage, name: str, size: int, sha256: str) -> bool:
    """Say whether the storage holds exactly this content under the name."""
    if not storage.exists(name) or storage.size(name) != size:
        return False
    digest = hashlib.sha256()
    with storage.open(name) as stored:
        for piece in stored.chunks(_PIECE):
            digest.update(piece)
    return digest.hexdigest() == sha256
