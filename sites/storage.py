"""Decides how a file reaches the local disk: whole or not at all, and there after a power cut."""

import os
import secrets
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

from sites.durable import fsync_folder, make_folder, move_in


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
