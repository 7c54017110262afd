"""When a file's earlier object id may be used again without reading the file."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

# A file that changes twice within the clock's step keeps its times: what was written so shortly
# before the scan is read again the next time.
YOUNG_NS = 2_000_000_000


class Known(NamedTuple):
    """What was seen of a file, and what its bytes were; `sha256` is set for large files."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    id: str
    sha256: str | None

    def fits(self, stat: os.stat_result) -> bool:
        """Return whether the file is still the one that was read."""
        return (
            self.ctime_ns == stat.st_ctime_ns
            and self.mtime_ns == stat.st_mtime_ns
            and self.size == stat.st_size
            and self.inode == stat.st_ino
        )


def is_young(stat: os.stat_result, scan_started_ns: int) -> bool:
    """Return whether a file changed too shortly before the scan to be remembered."""
    return max(stat.st_mtime_ns, stat.st_ctime_ns) > scan_started_ns - YOUNG_NS


class StatCache:
    """The known files of one folder, in an SQLite file that may be deleted at any time.

    `scope` is everything that an id depends on besides the file; another scope empties it.
    """

    def __init__(self, path: Path, scope: str) -> None:
        self._path = path
        self._scope = scope

    def load(self) -> dict[str, Known]:
        """Return all known files by path; a damaged file counts as empty."""
        try:
            with closing(self._connect()) as database:
                stored = database.execute("SELECT value FROM scope").fetchone()
                if stored is None or stored[0] != self._scope:
                    return {}
                rows = database.execute(
                    "SELECT path, size, mtime_ns, ctime_ns, inode, id, sha256 FROM known"
                )
                return {row[0]: Known._make(row[1:]) for row in rows}
        except sqlite3.DatabaseError:
            self._path.unlink(missing_ok=True)
            return {}

    def save(self, old: Mapping[str, Known], new: Mapping[str, Known]) -> None:
        """Replace what `load` returned by what is known now; files that are gone go.

        What is unchanged has to be the very object that `load` returned.
        """
        gone = [(path,) for path in old if path not in new]
        changed = [(path, *known) for path, known in new.items() if old.get(path) is not known]
        if not gone and not changed:
            return
        with closing(self._connect()) as database, database:
            stored = database.execute("SELECT value FROM scope").fetchone()
            if stored is None or stored[0] != self._scope:
                _replace_all(database, self._scope)
                changed = [(path, *known) for path, known in new.items()]
            database.executemany("DELETE FROM known WHERE path = ?", gone)
            database.executemany("INSERT OR REPLACE INTO known VALUES (?,?,?,?,?,?,?)", changed)

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path)
        database.execute("CREATE TABLE IF NOT EXISTS scope (value TEXT NOT NULL)")
        database.execute(
            "CREATE TABLE IF NOT EXISTS known (path TEXT PRIMARY KEY, size INTEGER,"
            " mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER, id TEXT, sha256 TEXT)"
            " WITHOUT ROWID"
        )
        return database


def _replace_all(database: sqlite3.Connection, scope: str) -> None:
    database.execute("DELETE FROM scope")
    database.execute("DELETE FROM known")
    database.execute("INSERT INTO scope VALUES (?)", (scope,))
