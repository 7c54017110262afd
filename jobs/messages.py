"""What the commit message of a backup says: a subject, then per file the lines that tell most.

Made from the differences alone, by rules: no model, no network, nothing that could wait. All that
is shown has gone through `jobs.telling`, which hides what could be a secret before it cuts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from posixpath import basename, commonpath, dirname

from sites.vault import FileChange, TextDiff

from .telling import Hider, cut, key_of, only_white_space, rows_of

SUBJECT = 72
FILES_TOLD = 12
LINES_TOLD = 6
_NAMES = 3
# What is read first where not all is: an edit says more than a new file, and that than a lost one.
_VERBS = {
    "modified": "change",
    "mode": "change",
    "renamed": "rename",
    "added": "add",
    "removed": "remove",
}
_RANK = {status: rank for rank, status in enumerate(_VERBS)}


def told_of(files: Sequence[FileChange], most: int = FILES_TOLD) -> list[FileChange]:
    """Choose the files whose lines the message tells: edits first, each kind by its path."""
    return sorted(files, key=lambda one: (_RANK[one.status], one.path))[:most]


def message_of(
    files: Sequence[FileChange],
    texts: Mapping[str, TextDiff],
    *,
    secrets: Sequence[str] = (),
    heads: Mapping[str, str] | None = None,
    most_files: int = FILES_TOLD,
    most_lines: int = LINES_TOLD,
) -> str:
    """Write the message: the subject, an empty line, then what changed in each file.

    `texts` has the differences of the files that were read, by their path; a file without one is
    told by its size. `heads` are the first lines of tables. `secrets` are hidden wherever they
    stand.
    """
    hide = Hider(secrets)
    told = told_of(files, most_files)
    subject = _subject(files, texts, hide)
    parts = []
    for one in told:
        diff, head = texts.get(one.path), (heads or {}).get(one.path, "")
        lines = hide.lines(diff, one.path, most_lines, head=head) if diff else []
        parts.append(_part(one, diff, lines, hide))
    if len(files) > len(told):
        shown = {id(one) for one in told}
        rest = Counter(_VERBS[one.status] for one in files if id(one) not in shown)
        words = ", ".join(f"{number:,} {_past(verb)}" for verb, number in rest.items())
        parts.append(f"and {_many(len(files) - len(told), 'more file')}: {words}")
    return "\n".join([subject, "", *parts])


def _subject(files: Sequence[FileChange], texts: Mapping[str, TextDiff], hide: Hider) -> str:
    """Say it as closely as 72 characters allow."""
    for phrases in (_closely(files, texts, hide), _by_name(files, hide), _by_number(files, hide)):
        line = ", ".join(phrases)
        if line and len(line) <= SUBJECT:
            return line[0].upper() + line[1:]
    return cut(line[0].upper() + line[1:], SUBJECT)


def _closely(
    files: Sequence[FileChange], texts: Mapping[str, TextDiff], hide: Hider
) -> Iterable[str]:
    if len(files) > _NAMES:
        return []
    names = _names(files, hide)
    said: list[str] = []
    before = ("", False)
    for one in told_of(files):
        phrase = _phrase(one, names[one.path], texts.get(one.path), hide)
        verb, _, rest = phrase.partition(" ")
        act = (verb, one.status in ("added", "removed"))
        # "Change the limit in a.st and the speed in b.st", not the same word again; but a line
        # that is added to a file and a file that is added are two things.
        if act == before and verb != "rename":
            said[-1] += f" and {rest}"
        else:
            said.append(phrase)
        before = act
    return said


def _phrase(one: FileChange, name: str, diff: TextDiff | None, hide: Hider) -> str:
    if one.status == "renamed":
        return _renamed(one, hide)
    if one.status in ("added", "removed"):
        return f"{_VERBS[one.status]} {name}"
    if one.status == "mode":
        return f"make {name} {_mode(one)}"
    if diff is None:
        return f"change {name}"
    if only_white_space(diff):
        return f"change white space in {name}"
    if not diff.added and not diff.removed:
        return f"change the end of {name}"
    rows = rows_of(diff)
    keys = [key_of(old, new, one.path) for old, new in rows if old and new]
    if not diff.cut and keys and len(keys) == len(rows) and all(keys):
        unique = list(dict.fromkeys(hide.text(key) for key in keys))
        if len(unique) == 1:
            # "the limit", but MaxSpeed, pump_2 and x.
            words = unique[0].replace(" ", "")
            plain = words.isalpha() and words.islower() and len(words) > 1
            return f"change {'the ' if plain else ''}{unique[0]} in {name}"
        if len(unique) == 2:
            return f"change {unique[0]} and {unique[1]} in {name}"
        return f"change {len(unique):,} values in {name}"
    if not diff.removed:
        return f"add {_many(diff.added, 'line')} to {name}"
    if not diff.added:
        return f"remove {_many(diff.removed, 'line')} from {name}"
    return f"change {_many(max(diff.added, diff.removed), 'line')} in {name}"


def _renamed(one: FileChange, hide: Hider) -> str:
    old, new = one.old_path or "", one.path
    if basename(old) == basename(new):
        return hide.text(f"move {basename(new)} to {dirname(new) or 'the top'}")
    return hide.text(f"rename {basename(old)} to {basename(new)}")


def _by_name(files: Sequence[FileChange], hide: Hider) -> Iterable[str]:
    groups = _groups(files)
    if any(len(group) > _NAMES for group in groups.values()):
        return []
    names = _names(files, hide)
    return [f"{verb} {_and([names[one.path] for one in group])}" for verb, group in groups.items()]


def _by_number(files: Sequence[FileChange], hide: Hider) -> list[str]:
    said: list[str] = []
    for verb, group in _groups(files).items():
        number = _many(len(group), "file") if not said else f"{len(group):,}"
        said.append(f"{verb} {number}")
    folder = _folder(files)
    if folder:
        with_folder = f"{said[-1]} in {hide.text(folder)}"
        if len(", ".join([*said[:-1], with_folder])) <= SUBJECT:
            said[-1] = with_folder
    return said


def _groups(files: Sequence[FileChange]) -> dict[str, list[FileChange]]:
    groups: dict[str, list[FileChange]] = {}
    for one in told_of(files, len(files)):
        groups.setdefault(_VERBS[one.status], []).append(one)
    return groups


def _names(files: Sequence[FileChange], hide: Hider) -> dict[str, str]:
    """Name each file as shortly as it stays the only one of that name."""
    used = Counter(basename(one.path) for one in files)
    return {
        one.path: hide.text(basename(one.path) if used[basename(one.path)] == 1 else one.path)
        for one in files
    }


def _folder(files: Sequence[FileChange]) -> str:
    return commonpath([dirname(one.path) or "." for one in files]).removeprefix(".")


def _part(one: FileChange, diff: TextDiff | None, lines: list[str], hide: Hider) -> str:
    """Tell one file: a head with its numbers, then its lines."""
    head = hide.text(one.path)
    if one.status == "renamed":
        head = hide.text(f"{one.old_path} → {one.path}")
    said = [{"added": "added", "removed": "removed", "renamed": "renamed"}.get(one.status, "")]
    shown: list[str] = []
    if one.status == "mode":
        said.append(f"now {_mode(one)}")
    elif diff is None:
        said.append(_sizes(one))
    elif one.status == "removed":
        said.append(_many(diff.removed, "line"))
    elif one.status == "added":
        said.append(_many(diff.added, "line"))
        shown = lines
    elif only_white_space(diff):
        said.append("only white space")
    elif one.edited:
        said.append(_counted(diff))
        shown = lines
    head = f"{cut(head, 100)}: {', '.join(part for part in said if part)}"
    return "\n".join([head.removesuffix(": "), *shown])


def _counted(diff: TextDiff) -> str:
    both = min(diff.added, diff.removed)
    numbers = {"changed": both, "added": diff.added - both, "removed": diff.removed - both}
    told = [(words, number) for words, number in numbers.items() if number]
    if not told:
        return "the line end at its end"
    first = f"{_many(told[0][1], 'line')} {told[0][0]}"
    return ", ".join([first, *(f"{number:,} {words}" for words, number in told[1:])])


def _sizes(one: FileChange) -> str:
    old, new = (None if n is None else _size(n) for n in (one.old_size, one.new_size))
    if not one.edited:
        return ""
    return f"{old} → {new}" if old and new and old != new else new or old or ""


def _size(number: int) -> str:
    amount = float(number)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return _many(number, "byte") if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} GB"


def _mode(one: FileChange) -> str:
    return "executable" if (one.new_mode or "").endswith("755") else "not executable"


def _past(verb: str) -> str:
    return "added" if verb == "add" else f"{verb}d"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
