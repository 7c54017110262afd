"""Decides whether two versions of a file can be compared as text, and reads them if so."""

from dataclasses import dataclass
from pathlib import Path

import pygit2

from sites.vault import tree
from sites.vault.diff import Options, TextDiff, diff_texts
from sites.vault.store import open_repository, read_blob
from sites.vault.text import MAX_TEXT_BYTES, MAX_TEXT_LINES, Text, decode
from sites.vault.tree import Entry


@dataclass(frozen=True, slots=True)
class FileDiff:
    """Two versions of a file; a side that does not exist is None.

    `refused` says why there is no text: `binary`, `large` (not in git) or `too_large` (over 2 MB
    or 100,000 lines; offer the download).
    """

    old: Entry | None
    new: Entry | None
    refused: str | None
    old_encoding: str | None = None
    new_encoding: str | None = None
    text: TextDiff | None = None


def compare_file(
    path: Path,
    old: tuple[str, str] | None,
    new: tuple[str, str] | None,
    options: Options,
) -> FileDiff:
    """Compare two versions of a file, each given as (commit, path) or None."""
    before, after = (tree.entry(path, *side) if side else None for side in (old, new))
    sides = [side for side in (before, after) if side]
    if any(side.large for side in sides):
        return FileDiff(before, after, "large")
    if any((side.size or 0) > MAX_TEXT_BYTES for side in sides):
        return FileDiff(before, after, "too_large")
    repository = open_repository(path)
    texts = [_text(repository, side) for side in (before, after)]
    if texts[0] is None or texts[1] is None:
        return FileDiff(before, after, "binary")
    if any(text.text.count("\n") > MAX_TEXT_LINES for text in texts if text):
        return FileDiff(before, after, "too_large")
    shown = (after or before or Entry("", "", "file", 0, "", "")).path
    return FileDiff(
        before,
        after,
        None,
        texts[0].encoding if before else None,
        texts[1].encoding if after else None,
        diff_texts(texts[0].text, texts[1].text, path=shown, options=options),
    )


def _text(repository: pygit2.Repository, side: Entry | None) -> Text | None:
    return decode(read_blob(repository, pygit2.Oid(hex=side.id)) if side else b"")
