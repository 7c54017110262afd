"""Decides the form of a backup: a tar file whose last member has the checksum of all others.

`SHA256SUMS` is as `sha256sum` writes it, so that plain tools can read and check a backup too.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from sites.durable import move_in

FORMAT = 1
SUMS = "SHA256SUMS"
_PIECE = 1024 * 1024
# Without these the portal would not be one.
_KINDS = {"database", "vault", "files", "data"}


class NotPossible(Exception):
    """A backup or restore that cannot be; the message says why and what to do."""


class Readable(Protocol):
    """Anything that gives up to `size` bytes."""

    def read(self, size: int, /) -> bytes: ...


class _Hashing:
    """A file that is hashed while tar reads it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece: bytes = self._file.read(size)
        self.digest.update(piece)
        return piece


class Writer:
    """An archive that is being written."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._sums: list[str] = []

    def add(self, name: str, file: Any, size: int, *, mode: int = 0o600) -> None:
        """Add `size` bytes of a file; raises when it has fewer."""
        if "\n" in name or "\\" in name:
            raise NotPossible(f"A file is named {name!a}, which a backup cannot hold.")
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, mode
        hashing = _Hashing(file)
        try:
            self._tar.addfile(info, hashing)
        except OSError as error:
            if error.errno is None:  # tar's own, of a file that ended too early
                raise NotPossible(f"{name} became shorter while it was read.") from error
            raise
        self._sums.append(f"{hashing.digest.hexdigest()}  {name}\n")

    def add_path(self, name: str, path: Path) -> None:
        """Add a file of this machine with its mode."""
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            self.add(name, file, about.st_size, mode=about.st_mode & 0o777)

    def add_json(self, name: str, value: Any) -> None:
        """Add a value as a file of its own."""
        content = json.dumps(value, indent=1).encode()
        self.add(name, io.BytesIO(content), len(content))

    def add_folder(self, name: str) -> None:
        """Add a folder, which may be empty."""
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        self._tar.addfile(info)

    def finish(self) -> None:
        """Add the checksums of all that is in it."""
        content = "".join(self._sums).encode()
        info = tarfile.TarInfo(SUMS)
        info.size, info.mode = len(content), 0o600
        self._tar.addfile(info, io.BytesIO(content))


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Write an archive beside its place; it gets its name at the end, when it is on disk."""
    draft = path.with_name(f".{path.name}.part")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with _tar(file, compressed=path.suffix in (".gz", ".tgz")) as tar:
                writer = Writer(tar)
                yield writer
                writer.finish()
        move_in(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _tar(file: IO[bytes], *, compressed: bool) -> tarfile.TarFile:
    if compressed:
        return tarfile.open(fileobj=file, mode="w:gz", compresslevel=1)
    return tarfile.open(fileobj=file, mode="w")


def verified(path: Path) -> dict[str, Any]:
    """Read an archive to its end and compare every checksum; give what it says about itself."""
    found: dict[str, str] = {}
    said: dict[str, str] | None = None
    about: dict[str, Any] = {}
    with _told(path):
        for member, content in members(path, with_sums=True):
            if content is None:
                continue
            if said is not None:
                raise NotPossible(f"{path} has something after its checksums, so it is no backup.")
            if member.name == SUMS:
                lines = content.read().decode(errors="replace").split("\n")
                said = {line[66:]: line[:64] for line in lines if line}
            elif member.name == "backup.json":
                raw = content.read()
                found[member.name] = hashlib.sha256(raw).hexdigest()
                try:
                    about = json.loads(raw)
                except ValueError as error:
                    raise NotPossible(f"The backup.json of {path} is damaged.") from error
            else:
                if member.name in found:
                    raise NotPossible(f"{path} has {member.name} twice, so it is no backup.")
                found[member.name] = _sha256(content)
    if said is None:
        raise NotPossible(f"{path} is not a whole backup: its end with the checksums is missing.")
    wrong = sorted(name for name in {*found, *said} if found.get(name) != said.get(name))
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise NotPossible(
            f"{path} is damaged: {wrong[0]}{more} is not what was written. Use another backup."
        )
    if about.get("format") != FORMAT:
        raise NotPossible(f"{path} is a backup of another form than this version can read.")
    return about


def members(
    path: Path, *, with_sums: bool = False
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Give each member with its content, None for a folder; anything unexpected is refused."""
    with _told(path), tarfile.open(path, "r:*") as tar:
        while (member := tar.next()) is not None:
            # tar keeps what it has read of each: with millions of files that is memory.
            tar.members = []  # type: ignore[attr-defined]
            if member.name in (SUMS, "backup.json"):
                if not with_sums:
                    continue
            elif not _is_ours(member):
                raise NotPossible(f"{path} holds {member.name!a}, which no backup of ours has.")
            yield member, tar.extractfile(member) if member.isreg() else None


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of a file that is no archive, or only half of one, that it is so."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotPossible(f"{path} cannot be read as a backup: {error}.") from error


def _is_ours(member: tarfile.TarInfo) -> bool:
    """Say whether the member is a file or folder below one of the places of a backup."""
    kind, *rest = member.name.split("/")
    inside = kind in _KINDS and bool(rest) and not {"", ".", ".."}.intersection(rest)
    return inside and (member.isreg() or member.isdir())


def write_out(path: Path, content: Readable, mode: int) -> None:
    """Write a file with its mode, under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name[:100]}.restored")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while piece := content.read(_PIECE):
            file.write(piece)
        os.fchmod(descriptor, mode)
    os.replace(draft, path)


def _sha256(content: Readable) -> str:
    digest = hashlib.sha256()
    while piece := content.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()
