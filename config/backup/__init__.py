"""Decides what a backup of the portal itself holds, and in which order it is read and put back.

What is in it:

    backup.json      what made it: the kind of database, its migrations, when
    database/        every row, as of one instant (see database.py)
    vault/           each target's repository, as git has it
    files/           what file storage holds, wherever that is
    data/            the other files of the data folder: keys, passwords; each with its own mode
    SHA256SUMS       the checksum of each of these, last: without it an archive is not whole

The database is read first. Files and snapshots are written before their rows and removed after
them, so whatever the rows of that instant name is still there when it is read, except what somebody
deletes while the backup is made. What came later has no row, and the tidying takes it.

Put back is in the other order: the database comes last, so a place without one is not a portal yet.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, default_storage

from config.backup import archive, database
from config.backup.archive import NotPossible
from sites.vault.store import locked, repository_lock

__all__ = ["NotPossible", "back_up", "restore"]

Say = Callable[[str], None]
Item = TypeVar("Item")

# In the data folder, but made anew by themselves, or another program's: the agent of this machine
# has its own state, and two portals must not find the same one.
LEFT_OUT = {"agent", "broker", "metrics", "staging", "static", "static.json"}
SAY_EVERY_S = 5


def back_up(place: Path, say: Say) -> Path:
    """Write a backup to a file, or under a name with the time into a folder; give the file.

    The portal may go on meanwhile. The file is readable by its owner alone, and it is there whole
    or not at all. A name that ends in .gz is compressed.
    """
    path = place
    if place.is_dir():
        path = place / f"yardmaster-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.tar"
    path = path.absolute()
    if path.exists():
        raise NotPossible(f"{path} is there already; a backup replaces nothing.")
    if not path.parent.is_dir():
        raise NotPossible(f"The folder {path.parent} is not there.")
    if path.resolve().is_relative_to(settings.DATA_DIR):
        raise NotPossible(
            f"{path} lies in the data folder itself and would be lost with it: name another place."
        )
    work = Path(tempfile.mkdtemp(prefix=".yardmaster-backup-", dir=path.parent))
    try:
        dump = database.dump(work, say)
        with archive.writing(path) as out:
            out.add_json(
                "backup.json",
                {
                    "format": archive.FORMAT,
                    "made_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                    "database": dump.kind,
                    "migrations": dump.migrations,
                },
            )
            for part in dump.parts:
                out.add_path(f"database/{part.name}", part)
                part.unlink()
            _add_vault(out, say)
            _add_files(out, say)
            _add_data(out, say)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def restore(path: Path, say: Say) -> None:
    """Put a backup back into an empty place, and bring its database to this version.

    Nothing is written before every checksum was compared. A restore that is cut off leaves a place
    without a database; empty it and begin again.
    """
    if not path.is_file():
        raise NotPossible(f"There is no file {path}.")
    _refuse_what_is_not_empty()
    say("Checking the backup …")
    about = archive.verified(path)
    database.check(about["database"], about["migrations"])
    say(f"It was made at {about['made_at']} and is whole.")

    data, vault = Path(settings.DATA_DIR), Path(settings.VAULT_ROOT)
    for member, content in counted(archive.members(path), "Files and snapshots", say):
        kind, _, rest = member.name.partition("/")
        if kind == "vault" and content is None:
            (vault / rest).mkdir(mode=0o755, parents=True, exist_ok=True)
        elif content is None:
            continue
        elif kind == "vault":
            archive.write_out(vault / rest, content, member.mode)
        elif kind == "files":
            stored = default_storage.save(rest, File(content, name=rest))
            if stored != rest:
                raise NotPossible(f"The file storage put {rest} under another name, {stored}.")
        elif kind == "data":
            archive.write_out(data / rest, content, member.mode & 0o700)
    os.sync()
    database.load(path, about["migrations"], say)


def _refuse_what_is_not_empty() -> None:
    """Raise when the database, the vault or the file storage holds anything."""
    full = [
        *([f"the database ({what})"] if (what := database.contents()) else []),
        *([f"the vault ({settings.VAULT_ROOT})"] if any(_repositories()) else []),
        *(["the file storage"] if next(_stored(default_storage), None) else []),
    ]
    if full:
        raise NotPossible(
            f"A backup is put back into an empty place only, and {' and '.join(full)} of this one "
            "is not empty. Set YARDMASTER_DATA to a new folder and DATABASE_URL to a new database, "
            "or move away what is there."
        )


def _add_vault(out: archive.Writer, say: Say) -> None:
    """Add each repository under its lock, so that no pack is replaced while it is read."""
    root = Path(settings.VAULT_ROOT)
    for repository in counted(_repositories(), "Targets with snapshots", say):
        try:
            with locked(repository_lock(repository), shared=True):
                for path in sorted(repository.rglob("*")):
                    name = f"vault/{path.relative_to(root).as_posix()}"
                    if path.is_dir():
                        out.add_folder(name)
                    else:
                        out.add_path(name, path)
        except FileNotFoundError:
            if repository.exists():
                raise
            continue  # its target was removed for good meanwhile


def _add_files(out: archive.Writer, say: Say) -> None:
    """Add what file storage holds; what was deleted since it was listed is left out."""
    for name in counted(_stored(default_storage), "Stored files", say):
        try:
            with default_storage.open(name) as stored:
                out.add(f"files/{name}", stored, stored.size)
        except FileNotFoundError:
            continue


def _add_data(out: archive.Writer, say: Say) -> None:
    """Add what else the data folder holds: above all the keys, without which much is unreadable."""
    for path in counted(_own_files(Path(settings.DATA_DIR)), "Keys and other files", say):
        try:
            out.add_path(f"data/{path.relative_to(settings.DATA_DIR).as_posix()}", path)
        except FileNotFoundError:
            continue


def _repositories() -> Iterator[Path]:
    return (path for path in sorted(Path(settings.VAULT_ROOT).glob("??/*.git")) if path.is_dir())


def _stored(storage: Storage, folder: str = "") -> Iterator[str]:
    """Give the names of all that a storage holds, without files that are still being written."""
    try:
        folders, names = storage.listdir(folder)
    except FileNotFoundError:
        return
    prefix = f"{folder}/" if folder else ""
    yield from (prefix + name for name in sorted(names) if name and not name.startswith("."))
    for inner in sorted(folders):
        yield from _stored(storage, prefix + inner)


def _own_files(root: Path) -> Iterator[Path]:
    """Give the files of the data folder that have no place of their own in a backup."""
    elsewhere = {Path(settings.VAULT_ROOT), Path(settings.MEDIA_ROOT)}
    for path in sorted(root.iterdir()):
        if path.name in LEFT_OUT or path in elsewhere or path.suffix == ".lock":
            continue
        if database.owns(path):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from (one for one in sorted(path.rglob("*")) if _is_plain(one))
        elif _is_plain(path):
            yield path


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def counted(items: Iterable[Item], label: str, say: Say) -> Iterator[Item]:
    """Give the items on, saying now and then and at the end how many there were."""
    count, said = 0, time.monotonic()
    for item in items:
        yield item
        count += 1
        if time.monotonic() - said >= SAY_EVERY_S:
            said = time.monotonic()
            say(f"{label}: {count:,} …")
    say(f"{label}: {count:,}.")
