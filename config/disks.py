"""Decides which disks the portal fills, and how much room on them is little."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.files.storage import FileSystemStorage, default_storage

# Free of a disk: below the first more is wanted soon, below the second uploads fail soon.
DISK_LOW, DISK_FULL = 5 * 2**30, 2**29


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder that the portal writes to, and how many bytes are free there."""

    folder: Path
    free: int

    @property
    def state(self) -> str:
        """`ok`, `low` or `full`."""
        return "full" if self.free < DISK_FULL else "low" if self.free < DISK_LOW else "ok"

    def __str__(self) -> str:
        return f"{self.free / 2**30:.1f} GiB"


def fullest() -> Disk:
    """Look at the disks below all local folders; gives the one with the least room."""
    found = {}
    for folder in map(nearest, local_folders()):
        found[folder.stat().st_dev] = Disk(folder, shutil.disk_usage(folder).free)
    return min(found.values(), key=lambda one: one.free)


def local_folders() -> list[Path]:
    """Give the folders that the portal writes to: data, vault, and files when they are local."""
    folders = [Path(settings.DATA_DIR), Path(settings.VAULT_ROOT), Path(settings.STAGING_ROOT)]
    if isinstance(default_storage, FileSystemStorage):
        folders.append(Path(default_storage.location))
    return folders


def nearest(folder: Path) -> Path:
    """Give the folder, or the first one above that is there: the others are made when needed."""
    while not os.path.isdir(folder):
        folder = folder.parent
    return folder
