"""Decides what it takes for bytes on disk to outlive a power cut: fsync the file and its folder."""

import os
from pathlib import Path


def fsync_file(path: Path) -> None:
    """Force the bytes of a file down to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# A folder is opened and synced as a file is; the second name says at the caller what is meant.
fsync_folder = fsync_file


def make_folder(path: Path) -> None:
    """Make a folder and what is missing above it, each made durable in its parent."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)


def move_in(source: Path, destination: Path) -> None:
    """Put a finished file in its place, whole or not at all, also across a power cut."""
    fsync_file(source)
    os.replace(source, destination)
    fsync_folder(destination.parent)
