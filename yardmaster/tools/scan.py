"""What of a folder goes into its snapshot, what is left out, and what cannot be read."""

import errno
import os
import stat as st
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from re import Pattern
from typing import BinaryIO

from yardmaster.objects import (
    EXECUTABLE,
    FILE,
    LINK,
    Entry,
    blob_id,
    hash_stream,
    pointer,
    tree_id,
)
from yardmaster.tools.names import is_gits_own, leaves_tree, why_refused
from yardmaster.tools.patterns import compile_patterns
from yardmaster.tools.statcache import Known, is_young

# Each level holds a file descriptor while its folder is read.
DEEPEST = 200
TRIES = 3
CHECK_EVERY = 200
READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, in case a file is replaced by a pipe between being listed and being opened.
READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True)
class Rules:
    """What a backup was asked to take."""

    include: Pattern[str] | None
    exclude: Pattern[str] | None
    max_file_bytes: int | None
    # Above this size a file does not enter git.
    object_bytes: int
    # The agent's own folder: it holds the token.
    private_folder: Path

    @classmethod
    def of(
        cls,
        include: list[str],
        exclude: list[str],
        max_file_bytes: int | None,
        object_bytes: int,
        private_folder: Path,
    ) -> "Rules":
        """Return the rules for lists of globs; an empty `include` takes everything."""
        return cls(
            compile_patterns(include) if include else None,
            compile_patterns(exclude) if exclude else None,
            max_file_bytes,
            object_bytes,
            private_folder,
        )


@dataclass
class Scan:
    """What was found. A scan with problems must not become a snapshot.

    `left_out` has a line for each thing that is there and cannot be kept; what the exclude
    patterns name, or the include patterns do not, was not asked for and is not in it.
    """

    root: Path
    entries: list[Entry] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files_read: int = 0
    bytes: int = 0
    _tree: str = ""

    @property
    def tree(self) -> str:
        """Return the git tree id of what was found."""
        if not self._tree:
            self._tree = tree_id(self.entries)
        return self._tree

    def open(self, entry: Entry) -> BinaryIO:
        """Open an entry again; no link is followed on the way to it."""
        *folders, name = entry.path.split("/")
        here = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                below = os.open(folder, READ_FOLDER, dir_fd=here)
                os.close(here)
                here = below
            if entry.mode == LINK:
                return BytesIO(os.fsencode(os.readlink(name, dir_fd=here)))
            return os.fdopen(os.open(name, READ_FILE, dir_fd=here), "rb")
        finally:
            os.close(here)


def scan_folder(
    root: Path, rules: Rules, known: Mapping[str, Known], check: Callable[[], None]
) -> Scan:
    """Return what is in a folder; `check` is called often and may raise to stop.

    Files whose size, times and inode are those in `known` are not read. Every name is opened
    below the folder it was listed in and never through a link, so that nobody who may write in
    the folder can lead the agent out of it while it reads.
    """
    walk = _Walk(Scan(root), rules, known, check)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        walk.folder(descriptor, "", 0)
    finally:
        os.close(descriptor)
    walk.finish_links()
    return walk.scan


class _Changing(Exception):
    """A file did not stay the same while it was read."""


class _Walk:
    def __init__(
        self, scan: Scan, rules: Rules, known: Mapping[str, Known], check: Callable[[], None]
    ) -> None:
        self.scan = scan
        self.rules = rules
        self.known = known
        self.check = check
        self.seen = 0
        self.links: dict[str, str] = {}
        self.started_ns = time.time_ns()
        self.private: tuple[int, int] | None = None
        with suppress(OSError):
            private = os.stat(rules.private_folder)
            self.private = (private.st_dev, private.st_ino)

    def folder(self, descriptor: int, prefix: str, depth: int) -> None:
        """Take in the open folder; `prefix` is its path from the top with a slash at the end."""
        if self.private is not None:
            here = os.fstat(descriptor)
            if (here.st_dev, here.st_ino) == self.private:
                self.leave_out(prefix or "the folder itself", "it is this agent's own folder")
                return
        try:
            with os.scandir(descriptor) as listing:
                found = list(listing)
        except OSError as error:
            self.problem(prefix or ".", error)
            return
        exclude, include, known = self.rules.exclude, self.rules.include, self.known
        for item in found:
            self.seen += 1
            if self.seen % CHECK_EVERY == 0:
                self.check()
            path = prefix + item.name
            if exclude is not None and exclude.fullmatch(path):
                continue
            try:
                if item.is_dir(follow_symlinks=False):
                    if self.good_name(item.name, path):
                        self.below(descriptor, item.name, path, depth)
                elif include is not None and not include.fullmatch(path):
                    continue
                # The name of a file that is remembered was good then.
                elif path in known or self.good_name(item.name, path):
                    self.leaf(descriptor, item, path)
            except FileNotFoundError:
                # Removed since the folder was listed: it is not there, as after a later start.
                continue
            except OSError as error:
                self.problem(path, error)

    def below(self, descriptor: int, name: str, path: str, depth: int) -> None:
        """Take in a folder in the open folder."""
        if depth >= DEEPEST:
            self.scan.problems.append(f"{path}: folders are nested deeper than {DEEPEST} levels")
            return
        opened = os.open(name, READ_FOLDER, dir_fd=descriptor)
        try:
            self.folder(opened, f"{path}/", depth + 1)
        finally:
            os.close(opened)

    def leaf(self, descriptor: int, item: os.DirEntry[str], path: str) -> None:
        """Take in what is not a folder."""
        stat = item.stat(follow_symlinks=False)
        mode = stat.st_mode
        if st.S_ISREG(mode):
            known = self.known.get(path)
            if known is not None and known.fits(stat) and not self.too_large(path, stat):
                self.add(path, mode, known)
            else:
                self.file(descriptor, item.name, path)
        elif st.S_ISLNK(mode):
            self.link(descriptor, item.name, path)
        else:
            self.leave_out(path, f"it is a {_kind(mode)}")

    def file(self, descriptor: int, name: str, path: str) -> None:
        """Read a file, again when it changed meanwhile."""
        for _ in range(TRIES):
            try:
                self.read(descriptor, name, path)
            except _Changing:
                self.check()
            else:
                return
        self.scan.problems.append(f"{path}: it kept changing while it was read ({TRIES} times)")

    def read(self, descriptor: int, name: str, path: str) -> None:
        """Read a file once, or raise _Changing."""
        with os.fdopen(os.open(name, READ_FILE, dir_fd=descriptor), "rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            if not st.S_ISREG(before.st_mode):
                self.leave_out(path, f"it is a {_kind(before.st_mode)}")
                return
            if self.too_large(path, before):
                return
            size = before.st_size
            sha256: str | None = None
            if size > self.rules.object_bytes:
                sha256, length = hash_stream(self.checked(stream))
                object_id = blob_id(pointer(sha256, length))
            else:
                data = _read_small(stream, size)
                length, object_id = len(data), blob_id(data)
            after = os.fstat(stream.fileno())
        seen = Known(size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino, object_id, sha256)
        if length != size or not seen.fits(after):
            raise _Changing
        self.scan.files_read += 1
        self.add(path, before.st_mode, seen, remember=not is_young(before, self.started_ns))

    def checked(self, stream: BinaryIO) -> Callable[[int], bytes]:
        """Return how to read a stream so that a long reading can be stopped."""

        def read(length: int) -> bytes:
            self.check()
            return stream.read(length)

        return read

    def link(self, descriptor: int, name: str, path: str) -> None:
        """Note where a link points to; `finish_links` decides when all are known."""
        self.links[path] = os.readlink(name, dir_fd=descriptor)

    def finish_links(self) -> None:
        """Record the links, except those that lead out of the folder: the portal takes none."""
        leaving = sorted(path for path in self.links if leaves_tree(path, self.links))
        for path in leaving:
            points_to = self.links.pop(path)
            self.leave_out(path, f"it is a link that leaves the folder (to {points_to!r})")
        for path, points_to in self.links.items():
            target = points_to.encode()
            self.scan.entries.append(Entry(path, LINK, len(target), blob_id(target)))
            self.scan.bytes += len(target)

    def add(self, path: str, mode: int, known: Known, *, remember: bool = True) -> None:
        """Add a file to what was found."""
        scan = self.scan
        scan.entries.append(
            Entry(
                path,
                EXECUTABLE if mode & st.S_IXUSR else FILE,
                known.size,
                known.id,
                known.sha256,
            )
        )
        scan.bytes += known.size
        if remember:
            scan.known[path] = known

    def too_large(self, path: str, stat: os.stat_result) -> bool:
        """Leave a file out that is above the limit, and return whether it is."""
        limit = self.rules.max_file_bytes
        if limit is None or stat.st_size <= limit:
            return False
        self.leave_out(path, f"it has {stat.st_size} bytes, more than the limit of {limit}")
        return True

    def good_name(self, name: str, path: str) -> bool:
        """Return whether a name can be kept; one that cannot is a problem, except git's own."""
        if is_gits_own(name):
            self.leave_out(path, "git's own files are never kept")
            return False
        reason = why_refused(name, path)
        if reason:
            self.scan.problems.append(f"{path!r}: {reason}; rename or exclude it")
        return not reason

    def leave_out(self, path: str, why: str) -> None:
        """Note something that is there and is not kept."""
        self.scan.left_out.append(f"{path}: {why}")

    def problem(self, path: str, error: OSError) -> None:
        """Note something that cannot be read."""
        if error.errno == errno.ELOOP:
            words = "it became a link while the folder was read"
        else:
            words = error.strerror or str(error)
        self.scan.problems.append(f"{path}: {words}")


def _read_small(stream: BinaryIO, size: int) -> bytes:
    """Return a file's bytes, and one more than `size` if it has grown."""
    data = stream.read(size + 1)
    while 0 < len(data) <= size:
        # One raw read may give less than is there.
        more = stream.read(size + 1 - len(data))
        if not more:
            break
        data += more
    return data


def _kind(mode: int) -> str:
    kinds = ((st.S_ISSOCK, "socket"), (st.S_ISFIFO, "pipe"), (st.S_ISBLK, "device"))
    return next((words for is_kind, words in kinds if is_kind(mode)), "device")
