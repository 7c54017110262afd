"""Decides how a file reaches the local disk: whole or not at all, and there after a power cut.

What every storage gives beside Django's own methods stands here too; the other one is
`sites.object_storage`.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage
from django.utils.deconstruct import deconstructible

from sites.durable import fsync_folder, make_folder, move_in

BYTES = "application/octet-stream"


class StorageUnavailable(Exception):
    """The file storage fails or does not answer in time; nothing was done, so try again."""

    def __init__(self) -> None:
        super().__init__("The file storage does not answer at the moment. Try again.")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in storage, as a sweep sees it."""

    name: str
    size: int
    modified: datetime


class Kept(Protocol):
    """What the sweeps and the downloads ask of a storage."""

    def stored(self, folder: str) -> Iterator[Stored]: ...

    def sweep_unfinished(self, *, before: datetime) -> int: ...

    def download_address(self, name: str, *, filename: str) -> str | None: ...


def stored_below(folder: str) -> Iterator[Stored]:
    """List everything stored below a folder; files may come and go meanwhile."""
    return cast(Kept, default_storage).stored(folder)


def sweep_unfinished(*, before: datetime) -> int:
    """Drop what writes that broke off have left since before then; give their number."""
    return cast(Kept, default_storage).sweep_unfinished(before=before)


def download_address(name: str, *, filename: str) -> str | None:
    """Give an address at the storage itself that lets its bearer download a file for a minute.

    None where the storage has none: then the portal sends the file.
    """
    return cast(Kept, default_storage).download_address(name, filename=filename)


@deconstructible(path="sites.storage.DurableFileSystemStorage")
class DurableFileSystemStorage(FileSystemStorage):
    """Files in a local folder, each forced to disk before its name appears.

    Names are the caller's and are kept as they are: saving under a name that is taken replaces
    the file in one step, as object stores do. Every name here is made from an id or a hash.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_overwrite", True)
        super().__init__(*args, **kwargs)

    def _save(self, name: str, content: File) -> str:
        place = Path(self.path(name))
        make_folder(place.parent)
        if hasattr(content, "temporary_file_path") and self._moved(
            Path(content.temporary_file_path()), place
        ):
            return name
        draft = place.with_name(f".{place.name[:80]}-{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as file:
                for piece in content.chunks():
                    file.write(piece)
            self._permit(draft)
            move_in(draft, place)
        finally:
            draft.unlink(missing_ok=True)
        return name

    def _moved(self, source: Path, place: Path) -> bool:
        """Take the file as it lies; say no when it lies on another disk."""
        if source.stat().st_dev != place.parent.stat().st_dev:
            return False
        self._permit(source)
        # Its age as a stored file begins now.
        os.utime(source)
        move_in(source, place)
        fsync_folder(source.parent)
        return True

    def _permit(self, path: Path) -> None:
        if self.file_permissions_mode is not None:
            path.chmod(self.file_permissions_mode)

    def delete(self, name: str) -> None:
        """Remove a file, and see to it that it stays removed."""
        super().delete(name)
        folder = Path(self.path(name)).parent
        if os.path.isdir(folder):
            fsync_folder(folder)

    def stored(self, folder: str) -> Iterator[Stored]:
        """List all below a folder; what is still being written has another name and is left out."""
        root = Path(self.path(folder))
        for above, _, names in os.walk(root):
            for name in names:
                path = Path(above, name)
                if name.startswith("."):
                    continue
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue
                place = path.relative_to(root).as_posix()
                when = datetime.fromtimestamp(found.st_mtime, UTC)
                yield Stored(f"{folder}/{place}", found.st_size, when)

    def sweep_unfinished(self, *, before: datetime) -> int:
        """Drop the drafts that a killed process left beside the files that they were to become."""
        swept = 0
        for path in Path(self.location).rglob(".*"):
            try:
                if path.is_file() and path.stat().st_mtime < before.timestamp():
                    path.unlink()
                    swept += 1
            except FileNotFoundError:
                continue
        return swept

    def download_address(self, name: str, *, filename: str) -> str | None:
        """Give none: a folder has no door of its own."""
        return None
