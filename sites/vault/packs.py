"""Decides how objects enter a repository and leave it: in whole packs, each durable before used."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from sites.durable import fsync_file, fsync_folder, make_folder
from sites.vault.store import REFS, open_repository, tree_of

# A look-up asks pack after pack; beyond this many a sweep puts them together.
MANY_PACKS = 40


def write(
    repository: pygit2.Repository,
    object_ids: Iterable[pygit2.Oid],
    draft: Path,
    room: Callable[[int], None] | None = None,
) -> str | None:
    """Write one pack of the objects into the repository and give its name; None for no objects.

    `room` is told how many bytes it takes before it is part of the repository, and may raise.

    It is made in `draft`, a folder on the same disk, forced to disk, and renamed in, the index
    last: without it no one sees the pack. A crash leaves at most a pack that nobody reads, which
    the next write of the same objects replaces and the next repack removes.
    """
    builder = pygit2.PackBuilder(repository)
    builder.set_threads(1)
    for object_id in object_ids:
        builder.add(object_id)
    if not len(builder):
        return None
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    builder.write(draft)
    if room is not None:
        room(sum(path.stat().st_size for path in draft.iterdir()))
    name = next(path.stem for path in draft.iterdir() if path.suffix == ".pack")
    folder = _folder(Path(repository.path))
    make_folder(folder)
    for suffix in (".pack", ".idx"):
        fsync_file(draft / (name + suffix))
    for suffix in (".pack", ".idx"):
        os.replace(draft / (name + suffix), folder / (name + suffix))
    fsync_folder(folder)
    return name


def repack(path: Path) -> None:
    """Put what the snapshots need into one pack and remove everything else, for good.

    The caller holds the repository's lock. The new pack is in place before anything goes; readers
    that meet a pack on its way out find the object in the new one.
    """
    repository = open_repository(path)
    folder = _folder(path)
    draft = path / f"repack-{secrets.token_hex(8)}"
    for left_behind in path.glob("repack-*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    try:
        kept = write(repository, reachable(repository), draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    make_folder(folder)
    # Index before pack: an index without its pack would promise objects that are gone.
    for suffix in (".idx", ""):
        for file in folder.iterdir():
            if file.stem != kept and file.name.endswith(suffix):
                file.unlink()
        fsync_folder(folder)
    for loose in (path / "objects").glob("[0-9a-f][0-9a-f]"):
        shutil.rmtree(loose, ignore_errors=True)


def count(path: Path) -> int:
    """Give the number of packs of a repository."""
    folder = _folder(path)
    return sum(file.suffix == ".idx" for file in folder.iterdir()) if folder.is_dir() else 0


def size(path: Path) -> int:
    """Give the bytes that a repository's packs and their indexes take; 0 where there is none."""
    folder, found = _folder(path), 0
    for file in folder.iterdir() if folder.is_dir() else ():
        # A repack may take one away meanwhile.
        with suppress(FileNotFoundError):
            found += file.stat().st_size
    return found


def reachable(repository: pygit2.Repository) -> Iterator[pygit2.Oid]:
    """Give every object that some snapshot needs, each once."""
    seen: set[pygit2.Oid] = set()
    for reference in repository.references.iterator():
        if not reference.name.startswith(REFS):
            continue
        commit = reference.peel(pygit2.Commit)
        if commit.id in seen:
            continue
        seen.add(commit.id)
        yield commit.id
        ahead = [commit.tree_id]
        while ahead:
            tree_id = ahead.pop()
            if tree_id in seen:
                continue
            seen.add(tree_id)
            yield tree_id
            for entry in tree_of(repository, tree_id):
                if entry.type == ObjectType.TREE:
                    ahead.append(entry.id)
                elif entry.id not in seen:
                    seen.add(entry.id)
                    yield entry.id


def _folder(path: Path) -> Path:
    return path / "objects" / "pack"
