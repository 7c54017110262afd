"""Decides what a manifest may say, and gives the trees and object ids that follow from it.

A manifest of a million entries is kept in a small SQLite file beside the objects that it names:
it finds double paths, gives the entries in order, and holds none of them in memory.
"""

import hashlib
import json
import os
import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sites.durable import move_in
from sites.files import Readable
from sites.vault import paths
from sites.vault.content import OBJECT_BYTES, Pointer
from sites.vault.errors import InvalidManifest, shown

MAX_ENTRIES = 1_000_000
# A path of 4096 bytes is at most 6 times that when JSON escapes every character of it.
MAX_LINE_BYTES = 32 * 1024
FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120000
_MODES = {"100644": FILE, "100755": PROGRAM, "120000": LINK}
_KEYS = {"path", "mode", "size", "id", "sha256"}
_OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BATCH = 5_000

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE entry (
    path BLOB PRIMARY KEY, mode INTEGER, size INTEGER, id BLOB, sha256 TEXT
) WITHOUT ROWID;
CREATE TABLE folder (path BLOB PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or link as the manifest names it; `size` is that of the content."""

    path: bytes
    mode: int
    size: int
    id: bytes
    sha256: str | None


def manifest_lines(stream: Readable) -> Iterator[bytes]:
    """Cut a stream into lines without ever holding more than one of them."""
    rest = b""
    while piece := stream.read(64 * 1024):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE_BYTES:
            raise InvalidManifest(f"A line is longer than {MAX_LINE_BYTES} bytes.")
    if rest:
        yield rest


def write(place: Path, lines: Iterable[bytes], *, max_bytes: int | None) -> None:
    """Check every entry while it streams by, and put the manifest in its place when it is whole.

    Until then, and after any error, the place holds what it held before. `max_bytes` limits the
    sum of all sizes.
    """
    draft = place.with_name(f".{place.name}-{secrets.token_hex(8)}")
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as database:
            database.executescript(_SCHEMA)
            database.execute("BEGIN")
            _fill(database, lines, max_bytes)
            conflict = database.execute(
                "SELECT path FROM entry JOIN folder USING (path) LIMIT 1"
            ).fetchone()
            if conflict:
                raise InvalidManifest(
                    f"{shown(conflict[0].decode())} is both a file and a folder in the manifest."
                )
            # The objects that follow are looked up by id.
            database.execute("CREATE INDEX entry_id ON entry (id, size)")
            database.execute("COMMIT")
        move_in(draft, place)
    finally:
        draft.unlink(missing_ok=True)


def _fill(database: sqlite3.Connection, lines: Iterable[bytes], max_bytes: int | None) -> None:
    entries = 0
    total = 0
    parent: bytes | None = None
    numbered = enumerate(lines, 1)
    while batch := list(islice(numbered, _BATCH)):
        rows = []
        folders = []
        for number, line in batch:
            if not line.strip():
                continue
            entry = _parse(number, line)
            rows.append((entry.path, entry.mode, entry.size, entry.id, entry.sha256))
            total += entry.size
            folder = entry.path.rpartition(b"/")[0]
            # Agents walk folder by folder: most entries lie beside the one before.
            if folder != parent:
                parent = folder
                while folder:
                    folders.append((folder,))
                    folder = folder.rpartition(b"/")[0]
                if len(folders) >= _BATCH:
                    # Deep paths that share nothing would fill the memory with their folders.
                    database.executemany("INSERT OR IGNORE INTO folder VALUES (?)", folders)
                    folders.clear()
        entries += len(rows)
        if entries > MAX_ENTRIES:
            raise InvalidManifest(f"A snapshot holds at most {MAX_ENTRIES} files.")
        if max_bytes is not None and total > max_bytes:
            raise InvalidManifest(f"A snapshot here holds at most {max_bytes} bytes.")
        before = database.total_changes
        database.executemany("INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?)", rows)
        if database.total_changes - before != len(rows):
            raise InvalidManifest(
                f"A path in lines {batch[0][0]} to {batch[-1][0]} is in the manifest twice."
            )
        database.executemany("INSERT OR IGNORE INTO folder VALUES (?)", folders)


def _parse(number: int, line: bytes) -> Entry:
    """Read one line; raise with the line's number and what is wrong with it."""
    if len(line) > MAX_LINE_BYTES:
        raise InvalidManifest(f"Line {number} is longer than {MAX_LINE_BYTES} bytes.")
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidManifest(f"Line {number} is not JSON in UTF-8.") from None
    if not isinstance(raw, dict) or not _KEYS.issuperset(raw):
        raise InvalidManifest(
            f"Line {number} is not an object of path, mode, size, id and sha256 alone."
        )
    path, mode, size, object_id = (raw.get(key) for key in ("path", "mode", "size", "id"))
    sha256 = raw.get("sha256")
    if type(path) is not str:
        raise InvalidManifest(f"Line {number} has no path.")
    if type(mode) is not str or mode not in _MODES:
        raise InvalidManifest(f"Line {number}: mode is one of 100644, 100755 and 120000.")
    if type(size) is not int or not 0 <= size < 2**63:
        raise InvalidManifest(f"Line {number}: size is a whole number of bytes.")
    if type(object_id) is not str or not _OBJECT_ID.fullmatch(object_id):
        raise InvalidManifest(f"Line {number}: id is 40 hex digits in lower case.")
    if sha256 is not None:
        if type(sha256) is not str or not _SHA256.fullmatch(sha256):
            raise InvalidManifest(f"Line {number}: sha256 is 64 hex digits in lower case.")
        if size <= OBJECT_BYTES or mode == "120000":
            raise InvalidManifest(
                f"Line {number}: only a file over {OBJECT_BYTES} bytes carries a sha256."
            )
        if str(Pointer(sha256, size).object_id()) != object_id:
            raise InvalidManifest(f"Line {number}: id is not that of the file's pointer.")
    elif size > OBJECT_BYTES:
        raise InvalidManifest(
            f"Line {number}: a file over {OBJECT_BYTES} bytes is sent as a pointer with its sha256."
        )
    return Entry(paths.checked(path), _MODES[mode], size, bytes.fromhex(object_id), sha256)


class Manifest:
    """A stored manifest, open for reading."""

    def __init__(self, place: Path) -> None:
        self._database = sqlite3.connect(
            f"{place.absolute().as_uri()}?mode=ro&immutable=1", uri=True
        )

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def totals(self) -> tuple[int, int]:
        """Give the number of files and the sum of their sizes."""
        row = self._database.execute("SELECT count(*), total(size) FROM entry").fetchone()
        return row[0], int(row[1])

    def blobs(self) -> Iterator[tuple[bytes, int]]:
        """Give the id and size of each blob that the agent has to have, each pair once."""
        yield from self._database.execute(
            "SELECT DISTINCT id, size FROM entry WHERE sha256 IS NULL"
        )

    def pointers(self) -> list[Pointer]:
        """Give what stands for the large files, each once."""
        return [
            Pointer(*row)
            for row in self._database.execute(
                "SELECT DISTINCT sha256, size FROM entry WHERE sha256 IS NOT NULL ORDER BY 1"
            )
        ]

    def links(self) -> Iterator[tuple[str, bytes]]:
        """Give path and blob id of every link."""
        for path, object_id in self._database.execute(
            "SELECT path, id FROM entry WHERE mode = ?", (LINK,)
        ):
            yield path.decode(), object_id

    def lists(self, object_id: bytes, size: int) -> bool:
        """Say whether some entry is a blob of this id and size."""
        return (
            self._database.execute(
                "SELECT 1 FROM entry WHERE id = ? AND size = ? AND sha256 IS NULL LIMIT 1",
                (object_id, size),
            ).fetchone()
            is not None
        )

    def trees(self) -> Iterator[tuple[bytes, bytes]]:
        """Build git's trees from the leaves up as (id, bytes); the last one is the root.

        In byte order all that lies below a folder follows in one run, so only the folders on the
        way to the present entry are open at a time.
        """
        open_folders: list[tuple[bytes, list[tuple[bytes, bytes]]]] = [(b"", [])]

        def close() -> tuple[bytes, bytes]:
            name, children = open_folders.pop()
            data = b"".join(row for _, row in sorted(children))
            tree_id = hashlib.sha1(b"tree %d\0" % len(data) + data).digest()
            if open_folders:
                # Git sorts a folder as if its name ended in a slash.
                open_folders[-1][1].append((name + b"/", b"40000 " + name + b"\0" + tree_id))
            return tree_id, data

        for path, mode, object_id in self._database.execute(
            "SELECT path, mode, id FROM entry ORDER BY path"
        ):
            *folders, name = path.split(b"/")
            shared = 0
            for open_folder, folder in zip(open_folders[1:], folders, strict=False):
                if open_folder[0] != folder:
                    break
                shared += 1
            while len(open_folders) > shared + 1:
                yield close()
            open_folders.extend((folder, []) for folder in folders[shared:])
            open_folders[-1][1].append((name, b"%o " % mode + name + b"\0" + object_id))
        while open_folders:
            yield close()


def exists(place: Path) -> bool:
    """Say whether a whole manifest has been stored."""
    return os.path.isfile(place)
