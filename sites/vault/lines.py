"""Decides which lines of two texts belong together, and which words inside a changed line changed.

The lines are compared by git's own engine, which stays quick on the largest texts; what is
compared are keys, one a line, so that a caller can decide what counts as equal.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import pygit2
from pygit2.enums import DiffOption

Segments = tuple[tuple[str, bool], ...]

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
# Words are marked where two lines have at least this much in common; else nothing would be plain.
_ALIKE = 0.3
# Pairing every removed with every added line of a block is for blocks up to this many pairs.
_BLOCK_PAIRS = 2_500
_LINE_WORDS = 400


class Block(NamedTuple):
    """A stretch where the texts differ: these lines of the old one became these of the new."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def changed_blocks(old: Sequence[str], new: Sequence[str]) -> list[Block]:
    """Compare two lists of lines (without line ends); give the blocks that differ, from 0."""
    patch = pygit2.Patch.create_from(
        _joined(old),
        _joined(new),
        flag=DiffOption.FORCE_TEXT | DiffOption.INDENT_HEURISTIC,
        context_lines=0,
        interhunk_lines=0,
    )
    blocks = []
    for hunk in patch.hunks:
        # An empty side is given by the line before it.
        old_start = hunk.old_start - (1 if hunk.old_lines else 0)
        new_start = hunk.new_start - (1 if hunk.new_lines else 0)
        blocks.append(
            Block(old_start, old_start + hunk.old_lines, new_start, new_start + hunk.new_lines)
        )
    return blocks


def count_changed(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """Give the number of added and of removed lines."""
    blocks = changed_blocks(old, new)
    return (
        sum(block.new_end - block.new_start for block in blocks),
        sum(block.old_end - block.old_start for block in blocks),
    )


def _joined(keys: Sequence[str]) -> bytes:
    return "".join(f"{key}\n" for key in keys).encode(errors="surrogatepass")


def pair_up(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int | None, int | None]]:
    """Set the lines of one block side by side, in order: alike ones meet, others stand alone."""
    if not old or not new or len(old) == len(new) or len(old) * len(new) > _BLOCK_PAIRS:
        for number in range(max(len(old), len(new))):
            yield (
                number if number < len(old) else None,
                number if number < len(new) else None,
            )
        return
    # The longest path through the table of likenesses, as for a longest common subsequence.
    likeness = [[_likeness(one, other) for other in new] for one in old]
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        for j in range(len(new) - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + likeness[i][j])
    i = j = 0
    while i < len(old) and j < len(new):
        if likeness[i][j] and best[i][j] == best[i + 1][j + 1] + likeness[i][j]:
            yield i, j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            yield i, None
            i += 1
        else:
            yield None, j
            j += 1
    for rest in range(i, len(old)):
        yield rest, None
    for rest in range(j, len(new)):
        yield None, rest


def _likeness(one: str, other: str) -> float:
    """Measure from 0 to 1 how many words two lines share; below the threshold it is 0."""
    words = Counter(_WORDS.findall(one.strip()[:500]))
    others = Counter(_WORDS.findall(other.strip()[:500]))
    all_words = words.total() + others.total()
    shared = 2 * (words & others).total() / all_words if all_words else 1.0
    return shared if shared >= _ALIKE else 0.0


class WordMarker:
    """Marks changed words until it has done its share; then lines are only marked whole."""

    def __init__(self, budget: int = 3_000_000) -> None:
        self._budget = budget

    def mark(self, old: str, new: str) -> tuple[Segments, Segments]:
        """Cut both lines into (text, changed) pieces; marks nothing where too little is alike."""
        plain: tuple[Segments, Segments] = (((old, False),), ((new, False),))
        words, others = _WORDS.findall(old), _WORDS.findall(new)
        if len(words) > _LINE_WORDS or len(others) > _LINE_WORDS:
            return plain
        self._budget -= len(words) * len(others)
        if self._budget < 0:
            return plain
        steps = SequenceMatcher(None, words, others, autojunk=False).get_opcodes()
        same = sum(
            len(word) for step, a, b, _, _ in steps if step == "equal" for word in words[a:b]
        )
        if same < _ALIKE * max(len(old), len(new)):
            return plain
        return (
            tuple(("".join(words[a:b]), step != "equal") for step, a, b, _, _ in steps if a < b),
            tuple(("".join(others[c:d]), step != "equal") for step, _, _, c, d in steps if c < d),
        )
