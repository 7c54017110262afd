"""Decides what changed between two snapshots: which files, how, how many lines, and which moved."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import basename

import pygit2
from pygit2.enums import FileMode, ObjectType

from sites.vault.content import Pointer
from sites.vault.lines import count_changed
from sites.vault.store import commit_of, open_repository, read_blob, tree_of
from sites.vault.text import MAX_TEXT_BYTES, MAX_TEXT_LINES, decode, lines
from sites.vault.tree import name_of, pointer_of

ADDED, MODIFIED, REMOVED, RENAMED, MODE = "added", "modified", "removed", "renamed", "mode"

# Two files are one renamed file when at least half of the larger is in the other: git's rule.
SIMILAR = 0.5
# Comparing everything with everything is for small changes; beyond this only equal names are.
_PAIRS = 40_000
_LOOKED_INTO_BYTES = 1024 * 1024
# What one comparison may read to find renames, and to count lines.
_SIMILARITY_BUDGET = 48 * 1024 * 1024
_LINES_BUDGET_BYTES = 48 * 1024 * 1024
_LINES_BUDGET = 2_000_000
# git's measure of likeness: pieces that end at a line's end, or after 64 bytes.
_PIECES = re.compile(rb"[^\n]{0,63}\n|[^\n]{1,64}")


@dataclass(frozen=True, slots=True)
class FileChange:
    """What happened to one file. Line counts are None where lines were not counted."""

    status: str
    old_path: str | None
    new_path: str | None
    old_size: int | None
    new_size: int | None
    old_mode: str | None
    new_mode: str | None
    edited: bool
    large: bool = False
    binary: bool = False
    added_lines: int | None = None
    removed_lines: int | None = None

    @property
    def path(self) -> str:
        """Give the path to show: the new one where there is one."""
        return self.new_path or self.old_path or ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many files changed how; a change of mode or kind alone counts as modified."""

    added: int = 0
    modified: int = 0
    removed: int = 0
    renamed: int = 0

    @property
    def total(self) -> int:
        """Give the number of changed files."""
        return self.added + self.modified + self.removed + self.renamed


@dataclass(frozen=True, slots=True)
class Changes:
    """All that differs between two snapshots, in the order of paths.

    `uncounted` is the number of changed files whose lines were not counted because the file or
    the change as a whole is too large.
    """

    files: list[FileChange] = field(default_factory=list)
    counts: Counts = Counts()
    added_lines: int = 0
    removed_lines: int = 0
    uncounted: int = 0


@dataclass(frozen=True, slots=True)
class _Side:
    """One file on one side; `id` and `mode` are git's."""

    path: str
    id: pygit2.Oid
    mode: int
    size: int
    pointer: Pointer | None

    @property
    def is_link(self) -> bool:
        return self.mode == FileMode.LINK


def compare(
    path: Path, old_commit: str | None, new_commit: str | None, *, count_lines: bool = True
) -> Changes:
    """Compare two snapshots of a target; None stands for an empty one.

    Without `count_lines` only the files are told apart, which reads no more than the trees and
    what is needed to find renames.
    """
    repository = open_repository(path)
    removed, added, both = _differences(
        repository,
        commit_of(repository, old_commit).tree_id if old_commit else None,
        commit_of(repository, new_commit).tree_id if new_commit else None,
    )
    pairs: list[tuple[_Side | None, _Side | None]] = [*both]
    for old, new in _renames(repository, removed, added):
        pairs.append((old, new))
        del removed[old.path], added[new.path]
    pairs.extend((old, None) for old in removed.values())
    pairs.extend((None, new) for new in added.values())
    counter = _LineCounter(repository, count_lines)
    files = sorted(
        (_change(old, new, counter) for old, new in pairs), key=lambda change: change.path
    )
    tally = Counter(MODIFIED if one.status == MODE else one.status for one in files)
    return Changes(
        files,
        Counts(**tally),
        sum(one.added_lines or 0 for one in files),
        sum(one.removed_lines or 0 for one in files),
        counter.uncounted,
    )


def _differences(
    repository: pygit2.Repository, old_tree: pygit2.Oid | None, new_tree: pygit2.Oid | None
) -> tuple[dict[str, _Side], dict[str, _Side], list[tuple[_Side, _Side]]]:
    """Walk two trees side by side; equal subtrees are not entered."""
    removed: dict[str, _Side] = {}
    added: dict[str, _Side] = {}
    both: list[tuple[_Side, _Side]] = []
    ahead = [("", old_tree, new_tree)]
    while ahead:
        prefix, old_id, new_id = ahead.pop()
        if old_id == new_id:
            continue
        old_entries = {name_of(one): one for one in tree_of(repository, old_id)} if old_id else {}
        new_entries = {name_of(one): one for one in tree_of(repository, new_id)} if new_id else {}
        for name in old_entries.keys() | new_entries.keys():
            old, new = old_entries.get(name), new_entries.get(name)
            if old and new and old.id == new.id and old.filemode == new.filemode:
                continue
            old_folder = old if old and old.type == ObjectType.TREE else None
            new_folder = new if new and new.type == ObjectType.TREE else None
            if old_folder or new_folder:
                ahead.append(
                    (
                        f"{prefix}{name}/",
                        old_folder.id if old_folder else None,
                        new_folder.id if new_folder else None,
                    )
                )
            old_side = _side(repository, old, prefix) if old and not old_folder else None
            new_side = _side(repository, new, prefix) if new and not new_folder else None
            if old_side and new_side:
                both.append((old_side, new_side))
            elif old_side:
                removed[old_side.path] = old_side
            elif new_side:
                added[new_side.path] = new_side
    return removed, added, both


def _side(repository: pygit2.Repository, one: pygit2.Object, prefix: str) -> _Side:
    size, pointer = pointer_of(repository, one)
    return _Side(prefix + name_of(one), one.id, int(one.filemode), size, pointer)


def _renames(
    repository: pygit2.Repository, removed: dict[str, _Side], added: dict[str, _Side]
) -> list[tuple[_Side, _Side]]:
    """Pair removed with added files: first equal bytes, then the most alike."""
    exact = _equal(removed.values(), added.values())
    gone = {old.path for old, _ in exact}
    come = {new.path for _, new in exact}
    similar = _similar(
        repository,
        [old for old in removed.values() if old.path not in gone],
        [new for new in added.values() if new.path not in come],
    )
    return exact + similar


def _equal(removed: Iterable[_Side], added: Iterable[_Side]) -> list[tuple[_Side, _Side]]:
    """Pair files of the same content, those that kept their name first.

    An empty file is like every other empty file: it has to keep its name to count as moved.
    """
    candidates: dict[tuple[pygit2.Oid, bool], list[_Side]] = defaultdict(list)
    for old in sorted(removed, key=lambda side: side.path):
        candidates[old.id, old.is_link].append(old)
    found = []
    waiting = []
    for new in sorted(added, key=lambda side: side.path):
        same = candidates.get((new.id, new.is_link), [])
        named = next((old for old in same if basename(old.path) == basename(new.path)), None)
        if named:
            same.remove(named)
            found.append((named, new))
        elif same and new.size:
            waiting.append((same, new))
    found.extend((same.pop(0), new) for same, new in waiting if same)
    return found


def _similar(
    repository: pygit2.Repository, removed: list[_Side], added: list[_Side]
) -> list[tuple[_Side, _Side]]:
    """Pair files that share at least half of their content, the most alike first."""
    olds, news = (
        [
            side
            for side in sides
            if not side.is_link and not side.pointer and 0 < side.size <= _LOOKED_INTO_BYTES
        ]
        for sides in (removed, added)
    )
    everything = len(olds) * len(news) <= _PAIRS
    by_name: dict[str, list[_Side]] = defaultdict(list)
    for old in olds:
        by_name[basename(old.path)].append(old)
    budget = _SIMILARITY_BUDGET
    known: dict[pygit2.Oid, Counter[bytes]] = {}

    def pieces(side: _Side) -> Counter[bytes]:
        nonlocal budget
        if side.id not in known:
            budget -= side.size
            known[side.id] = Counter(_PIECES.findall(read_blob(repository, side.id)))
        return known[side.id]

    scored = []
    for new in news:
        for old in olds if everything else by_name[basename(new.path)][:20]:
            if min(old.size, new.size) < SIMILAR * max(old.size, new.size):
                continue
            one, other = sorted((pieces(old), pieces(new)), key=len)
            # Looking a pair over costs as well, about as much as reading its pieces.
            budget -= 32 * len(one)
            if budget < 0:
                break
            shared = sum(len(piece) * min(n, other[piece]) for piece, n in one.items())
            likeness = shared / max(old.size, new.size)
            if likeness >= SIMILAR:
                other_name = basename(old.path) != basename(new.path)
                scored.append((-likeness, other_name, new.path, old.path, old, new))
    found = []
    taken: set[str] = set()
    left: set[str] = set()
    for *_, old, new in sorted(scored, key=lambda row: row[:4]):
        if new.path not in taken and old.path not in left:
            taken.add(new.path)
            left.add(old.path)
            found.append((old, new))
    return found


class _LineCounter:
    """Counts changed lines file by file until a comparison has read its share."""

    def __init__(self, repository: pygit2.Repository, wanted: bool) -> None:
        self._repository = repository
        self._wanted = wanted
        self._bytes = _LINES_BUDGET_BYTES
        self._lines = _LINES_BUDGET
        self.uncounted = 0

    def count(self, old: _Side | None, new: _Side | None) -> tuple[bool, int | None, int | None]:
        """Give whether the file is binary, and its added and removed lines where counted."""
        sides = [side for side in (old, new) if side]
        if not self._wanted:
            return False, None, None
        if any(side.pointer for side in sides):
            return True, None, None
        if any(side.size > MAX_TEXT_BYTES for side in sides):
            return self._left_out()
        self._bytes -= sum(side.size for side in sides)
        if self._bytes < 0:
            return self._left_out()
        texts = [
            decode(read_blob(self._repository, side.id)) if side else decode(b"")
            for side in (old, new)
        ]
        if texts[0] is None or texts[1] is None:
            return True, None, None
        if old and new and old.id == new.id:
            return False, 0, 0
        before, after = lines(texts[0].text), lines(texts[1].text)
        longest = max(len(before), len(after))
        # Long texts cost more a line than short ones.
        self._lines -= longest + longest * longest // 10_000
        if longest > MAX_TEXT_LINES or self._lines < 0:
            return self._left_out()
        return False, *count_changed(before, after)

    def _left_out(self) -> tuple[bool, None, None]:
        self.uncounted += 1
        return False, None, None


def _change(old: _Side | None, new: _Side | None, counter: _LineCounter) -> FileChange:
    edited = old is None or new is None or old.id != new.id
    if old is None:
        status = ADDED
    elif new is None:
        status = REMOVED
    elif old.path != new.path:
        status = RENAMED
    else:
        status = MODIFIED if edited or old.is_link != new.is_link else MODE
    binary, added_lines, removed_lines = counter.count(old, new)
    return FileChange(
        status=status,
        old_path=old.path if old else None,
        new_path=new.path if new else None,
        old_size=old.size if old else None,
        new_size=new.size if new else None,
        old_mode=f"{old.mode:06o}" if old else None,
        new_mode=f"{new.mode:06o}" if new else None,
        edited=edited,
        large=any(side.pointer for side in (old, new) if side),
        binary=binary,
        added_lines=added_lines,
        removed_lines=removed_lines,
    )
