"""Decides what a diff of one file shows: hunks, side-by-side rows, marked words, what is hidden.

Nothing here knows how it is drawn. Every text in the result is safe to show: control and direction
characters have become signs. Escaping for HTML is the page's.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from sites.vault.comments import syntax_of, without_comments
from sites.vault.lines import Segments, WordMarker, changed_blocks, pair_up
from sites.vault.pattern import matching
from sites.vault.text import lines, visible

WHITESPACE, COMMENTS, PATTERN = "whitespace", "comments", "pattern"
CONTEXT, ADDED, REMOVED = "context", "added", "removed"

_MAX_SHOWN = 2_000
# git's rule for the line that names the place: it begins at the margin with a letter. What closes
# a block names nothing.
_HEADING = re.compile(r"(?!(?i:end))[A-Za-z_$]")
_HEADING_REACH = 2_000
# No line of a text holds a line feed, so this key is no line's own.
_HIDDEN_KEY = "\x00hidden"


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose to see. Everything is shown unless they ask otherwise."""

    hide_whitespace: bool = False
    hide_comments: bool = False
    hide_pattern: str = ""
    context: int = 3
    max_lines: int = 5_000


EVERYTHING = Options()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a hunk. `segments` are (text, changed) pieces that make up `text`.

    `old_text` is set on a context line that differs on the old side by what is hidden.
    """

    kind: str
    old_no: int | None
    new_no: int | None
    text: str
    segments: Segments
    old_text: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Two lines side by side; a side that has none is None, a context line stands on both."""

    left: Line | None
    right: Line | None


@dataclass(frozen=True, slots=True)
class Hunk:
    """Changed lines with their surroundings, after `skipped` unchanged lines.

    `heading` is the line above that names the place (a function, a region), or empty.
    """

    skipped: int
    heading: str
    rows: list[Row]

    @property
    def lines(self) -> list[Line]:
        """Give the lines for one column: in each block the removed ones before the added."""
        ordered: list[Line] = []
        added: list[Line] = []
        for row in self.rows:
            if row.left is not None and row.left is row.right:
                ordered += [*added, row.left]
                added = []
                continue
            if row.left is not None:
                ordered.append(row.left)
            if row.right is not None:
                added.append(row.right)
        return ordered + added


@dataclass(frozen=True, slots=True)
class TextDiff:
    """A text's diff. `added` and `removed` count what is shown or cut, not what is hidden.

    `hidden` counts the changed lines that each option hides (a changed line counts on both
    sides), `cut` the changed lines beyond `max_lines`, `skipped` the unchanged lines at the end.
    `line_end` is `added` or `removed` when the newline at the very end came or went.
    """

    hunks: list[Hunk] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    skipped: int = 0
    cut: int = 0
    hidden: dict[str, int] = field(default_factory=dict)
    line_end: str | None = None

    @property
    def all_hidden(self) -> bool:
        """Say whether there are differences, and the options hide every one of them."""
        return bool(self.hidden) and not self.added and not self.removed


@dataclass(slots=True)
class _Side:
    """One text: its lines, what they are compared by, and which are hidden by which option."""

    raw: list[str]
    keys: list[str]
    hidden: dict[int, str]


# A step through both texts: numbers of an equal pair, or of the lines of a block.
_Step = tuple[list[int], list[int], bool]


def diff_texts(old: str, new: str, *, path: str = "", options: Options = EVERYTHING) -> TextDiff:
    """Compare two texts. `path` tells the language, for comments. Raises PatternRefused."""
    before, after = lines(old), lines(new)
    if all(line.endswith("\r") for line in chain(before, after)):
        # Windows' line ends everywhere are no news.
        before, after = [line[:-1] for line in before], [line[:-1] for line in after]
    left, right = _sides(before, after, path, options)
    steps, hidden = _steps(left, right)
    hunks, skipped, shown = _hunks(steps, left.raw, right.raw, options)
    added = sum(len(news) for _, news, equal in steps if not equal)
    removed = sum(len(olds) for olds, _, equal in steps if not equal)
    line_end = None
    if old and new and old.endswith("\n") != new.endswith("\n"):
        line_end = ADDED if new.endswith("\n") else REMOVED
    return TextDiff(hunks, added, removed, skipped, added + removed - shown, dict(hidden), line_end)


def _sides(before: list[str], after: list[str], path: str, options: Options) -> tuple[_Side, _Side]:
    """Give each line the key that it is compared by under the options."""
    matches: set[int] = set()
    if options.hide_pattern:
        # One run for both texts.
        matches = matching(options.hide_pattern, [*before, *after])
    syntax = syntax_of(path) if options.hide_comments else None
    sides = []
    for raw, offset in ((before, 0), (after, len(before))):
        texts = without_comments(raw, syntax) if syntax else raw
        keys = []
        hidden = {}
        for number, (line, text) in enumerate(zip(raw, texts, strict=True)):
            if offset + number in matches:
                hidden[number] = PATTERN
            elif not text.strip() and text != line:
                hidden[number] = COMMENTS
            elif options.hide_whitespace and not text.strip():
                hidden[number] = WHITESPACE
            if number in hidden:
                keys.append(_HIDDEN_KEY)
            else:
                keys.append("".join(text.split()) if options.hide_whitespace else text)
        sides.append(_Side(raw, keys, hidden))
    return sides[0], sides[1]


def _steps(left: _Side, right: _Side) -> tuple[list[_Step], Counter[str]]:
    """Walk both texts; give equal stretches and changed blocks, and count what is hidden."""
    steps: list[_Step] = []
    hidden: Counter[str] = Counter()
    i = j = 0

    def equal_to(old_end: int) -> None:
        nonlocal i, j
        olds, news = [], []
        while i < old_end:
            if left.raw[i] != right.raw[j]:
                hidden[left.hidden.get(i) or _difference(left.raw[i], right.raw[j])] += 2
            olds.append(i)
            news.append(j)
            i, j = i + 1, j + 1
        if olds and steps and steps[-1][2]:
            # What lay between was hidden.
            steps[-1][0].extend(olds)
            steps[-1][1].extend(news)
        elif olds:
            steps.append((olds, news, True))

    for block in changed_blocks(left.keys, right.keys):
        equal_to(block.old_start)
        i, j = block.old_end, block.new_end
        for side, start, end in (
            (left, block.old_start, block.old_end),
            (right, block.new_start, block.new_end),
        ):
            hidden.update(
                side.hidden[number] for number in range(start, end) if number in side.hidden
            )
        olds = [n for n in range(block.old_start, block.old_end) if n not in left.hidden]
        news = [n for n in range(block.new_start, block.new_end) if n not in right.hidden]
        if olds or news:
            steps.append((olds, news, False))
    equal_to(len(left.raw))
    return steps, hidden


def _difference(old: str, new: str) -> str:
    """Say which option made two different lines equal."""
    return WHITESPACE if "".join(old.split()) == "".join(new.split()) else COMMENTS


def _hunks(
    steps: Sequence[_Step], old: list[str], new: list[str], options: Options
) -> tuple[list[Hunk], int, int]:
    """Fold what is unchanged; give the hunks, the lines left at the end, the changes shown."""
    marker = WordMarker()
    hunks: list[Hunk] = []
    rows: list[Row] = []
    skipped = shown = drawn = 0
    heading = ""

    def finish() -> None:
        nonlocal rows, skipped
        if rows:
            hunks.append(Hunk(skipped, heading, rows))
            rows, skipped = [], 0

    last = max((number for number, step in enumerate(steps) if not step[2]), default=-1)
    for number, (olds, news, equal) in enumerate(steps):
        if equal:
            ahead = options.context if number <= last else 0
            behind = options.context if rows else 0
            if len(olds) <= ahead + behind:
                behind, ahead = len(olds), 0
            rows += [_context(old, new, *pair) for pair in _zip(olds[:behind], news[:behind])]
            drawn += behind + ahead
            middle = len(olds) - behind - ahead
            if middle:
                finish()
                skipped += middle
                heading = _heading(new, news[behind + middle - 1]) if ahead else ""
            start = len(olds) - ahead
            rows += [_context(old, new, *pair) for pair in _zip(olds[start:], news[start:])]
            continue
        if drawn >= options.max_lines:
            if all(row.left is row.right for row in rows):
                rows = []
            break
        room = options.max_lines - drawn
        olds, news = olds[:room], news[:room]
        drawn += len(olds) + len(news)
        shown += len(olds) + len(news)
        rows += _changed(old, new, olds, news, marker)
    finish()
    return hunks, skipped, shown


def _zip(olds: list[int], news: list[int]) -> list[tuple[int, int]]:
    return list(zip(olds, news, strict=True))


def _context(old: list[str], new: list[str], i: int, j: int) -> Row:
    text = _clean(new[j])
    line = Line(
        CONTEXT,
        i + 1,
        j + 1,
        text,
        ((text, False),),
        _clean(old[i]) if old[i] != new[j] else None,
    )
    return Row(line, line)


def _changed(
    old: list[str], new: list[str], olds: list[int], news: list[int], marker: WordMarker
) -> list[Row]:
    lefts, rights = [_clean(old[i]) for i in olds], [_clean(new[j]) for j in news]
    rows = []
    for i, j in pair_up(lefts, rights):
        left = right = None
        if i is not None and j is not None:
            left_words, right_words = marker.mark(lefts[i], rights[j])
            left = Line(REMOVED, olds[i] + 1, None, lefts[i], left_words)
            right = Line(ADDED, None, news[j] + 1, rights[j], right_words)
        elif i is not None:
            left = Line(REMOVED, olds[i] + 1, None, lefts[i], ((lefts[i], False),))
        elif j is not None:
            right = Line(ADDED, None, news[j] + 1, rights[j], ((rights[j], False),))
        rows.append(Row(left, right))
    return rows


def _heading(new: list[str], number: int) -> str:
    """Find the line at or above `number` that names the place."""
    for above in range(number, max(number - _HEADING_REACH, -1), -1):
        if _HEADING.match(new[above]):
            return visible(new[above].strip()[:80])
    return ""


def _clean(line: str) -> str:
    """Make a line safe to show, and cut one that no one could read anyway."""
    if len(line) > _MAX_SHOWN:
        line = f"{line[:_MAX_SHOWN]}… ({len(line) - _MAX_SHOWN} more characters)"
    return visible(line)
