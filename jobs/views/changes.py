"""What the Changes tab of a run shows: the files that differ, and how, under View Options."""

from posixpath import basename, dirname
from typing import Any

from django.http import QueryDict

from jobs.models import JobRun
from sites import vault
from sites.models import Snapshot, Target
from sites.vault import FileChange, FileDiff, Options

# So many files have their diff on one page; the rest is behind "next files".
FILES_SHOWN = 25
# So many lines of a page are drawn; a file beyond them is opened by itself.
LINES_SHOWN = 4_000
TREE_SHOWN = 500
ICONS = {
    "added": "file-plus",
    "removed": "file-minus",
    "renamed": "file-arrow-right",
    "mode": "file-code",
}
WHY_NOT = {
    "binary": "Not a text, so no lines are compared.",
    "large": "Larger than 8 MiB, so no lines are compared.",
    "too_large": "Larger than 2 MB, so no lines are compared.",
}
HIDING = {
    "whitespace": "white space",
    "comments": "comments",
    "pattern": "lines that match",
}


def changes_of(run: JobRun, params: QueryDict) -> dict[str, Any]:
    """Compare a run's snapshot with the one that its result was judged against.

    Opens with nothing hidden; the options of the viewer come with the address, and change what is
    shown, never the result. What cannot be compared comes back as ``unreadable``.
    """
    new, old, target = run.snapshot, run.base_snapshot, run.target
    assert new is not None
    assert target is not None
    options = Options(
        hide_whitespace=params.get("whitespace") == "1",
        hide_comments=params.get("comments") == "1",
        hide_pattern=params.get("pattern", "").replace("\0", "")[:200],
    )
    shown: dict[str, Any] = {
        "old": old,
        "new": new,
        "options": options,
        "hides": options.hide_whitespace or options.hide_comments or bool(options.hide_pattern),
        "unified": params.get("view") == "unified",
    }
    purged = next((one for one in (new, old) if one is not None and one.purged_at), None)
    if purged is not None:
        return shown | {"purged": purged}
    if old is None or old.tree_id == new.tree_id:
        return shown | {"nothing": "first" if old is None else "same"}
    try:
        changes = vault.compare(target.public_id, old.commit_id, new.commit_id)
    except vault.NotInVault as error:
        return shown | {"unreadable": str(error)}
    first = _first(params, len(changes.files))
    page = changes.files[first : first + FILES_SHOWN]
    try:
        diffs = _diffs(target, old, new, page, options)
    except vault.PatternRefused as error:
        shown["pattern_error"] = str(error)
        diffs = _diffs(
            target, old, new, page, Options(options.hide_whitespace, options.hide_comments)
        )
    hidden: dict[str, int] = {}
    for one in diffs:
        for name, lines in (one["diff"].text.hidden if one["diff"].text else {}).items():
            hidden[name] = hidden.get(name, 0) + lines
    return shown | {
        "changes": changes,
        "folders": _folders(changes.files[:TREE_SHOWN], first),
        "tree_left_out": max(0, len(changes.files) - TREE_SHOWN),
        "diffs": diffs,
        "hidden": [(HIDING[name], lines) for name, lines in hidden.items()],
        "all_hidden": bool(diffs)
        and all(one["diff"].text is not None and one["diff"].text.all_hidden for one in diffs),
        "first": first + 1,
        "last": first + len(page),
        "before": str(max(0, first - FILES_SHOWN)) if first else "",
        "after": str(first + FILES_SHOWN) if first + FILES_SHOWN < len(changes.files) else "",
    }


def _first(params: QueryDict, total: int) -> int:
    text = params.get("from", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return number if number < total else 0


def _diffs(
    target: Target, old: Snapshot, new: Snapshot, page: list[FileChange], options: Options
) -> list[dict[str, Any]]:
    room = LINES_SHOWN
    found = []
    for change in page:
        some = Options(
            options.hide_whitespace,
            options.hide_comments,
            options.hide_pattern,
            max_lines=max(room, 50),
        )
        diff = vault.file_diff_between(
            target.public_id,
            (old.commit_id, change.old_path) if change.old_path else None,
            (new.commit_id, change.new_path) if change.new_path else None,
            some,
        )
        if diff.text is not None:
            room -= sum(len(hunk.rows) for hunk in diff.text.hunks)
        found.append({"change": change, "diff": diff, "note": _note(change, diff)})
    return found


def _note(change: FileChange, diff: FileDiff) -> str:
    """Say what the lines of a file do not show."""
    if diff.refused:
        return WHY_NOT[diff.refused]
    if change.status == "renamed" and not change.edited:
        return "Renamed; its content is the same."
    if change.status == "mode":
        return f"Mode {change.old_mode} became {change.new_mode}; its content is the same."
    if diff.text is not None and diff.text.line_end:
        return f"The newline at the end of the file was {diff.text.line_end}."
    if diff.text is not None and not diff.text.hunks and not diff.text.hidden:
        return "An empty file."
    return ""


def _folders(files: list[FileChange], first: int) -> list[dict[str, Any]]:
    """Group the files by folder, with a link to each: on this page, or on the page that has it."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for number, change in enumerate(files):
        page = number - number % FILES_SHOWN
        folders.setdefault(dirname(change.path), []).append(
            {
                "change": change,
                "name": basename(change.path),
                "icon": ICONS.get(change.status, "file-text"),
                "here": first <= number < first + FILES_SHOWN,
                "anchor": f"file-{number - page + 1}",
                "page": str(page) if page else "",
            }
        )
    return [{"path": path, "files": inside} for path, inside in sorted(folders.items())]
