"""How differences between two snapshots are asked for and told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from .. import vault
from ..models import Snapshot, Target
from ..problems import Refused
from ..vault import FileChange, FileDiff, Options
from .fields import Flag, Path, Strict, Text, Whole

# So many changed files in one answer; `after` asks for the next ones.
FILES = 1_000


class DiffQuery(Strict):
    path = Path(required=False)
    after = Path(required=False, allow_blank=True)
    hide_whitespace = Flag(required=False, default=False)
    hide_comments = Flag(required=False, default=False)
    hide_pattern = Text(required=False, default="", max_length=200, allow_blank=True)
    context = Whole(  # type: ignore[assignment]
        required=False, default=3, min_value=0, max_value=100
    )


class ChangeOut(serializers.Serializer[FileChange]):
    """What happened to one file; line counts are null where lines were not counted."""

    path = serializers.CharField()
    status = serializers.CharField(help_text="added, modified, removed, renamed or mode")
    old_path = serializers.CharField(allow_null=True)
    new_path = serializers.CharField(allow_null=True)
    old_size = serializers.IntegerField(allow_null=True)
    new_size = serializers.IntegerField(allow_null=True)
    old_mode = serializers.CharField(allow_null=True)
    new_mode = serializers.CharField(allow_null=True)
    edited = serializers.BooleanField()
    large = serializers.BooleanField()
    binary = serializers.BooleanField()
    added_lines = serializers.IntegerField(allow_null=True)
    removed_lines = serializers.IntegerField(allow_null=True)


class CountsOut(serializers.Serializer[Any]):
    added = serializers.IntegerField()
    modified = serializers.IntegerField()
    removed = serializers.IntegerField()
    renamed = serializers.IntegerField()


class LineOut(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text="context, added or removed")
    old_no = serializers.IntegerField(allow_null=True)
    new_no = serializers.IntegerField(allow_null=True)
    text = serializers.CharField(trim_whitespace=False)


class HunkOut(serializers.Serializer[Any]):
    skipped = serializers.IntegerField(help_text="Unchanged lines before it.")
    heading = serializers.CharField()
    lines = LineOut(many=True)


class FileDiffOut(serializers.Serializer[FileDiff]):
    """One file's lines. `refused` says why there are none: binary, large or too_large."""

    path = serializers.CharField(default="")
    refused = serializers.CharField(allow_null=True)
    old_size = serializers.IntegerField(source="old.size", allow_null=True)
    new_size = serializers.IntegerField(source="new.size", allow_null=True)
    old_encoding = serializers.CharField(allow_null=True)
    new_encoding = serializers.CharField(allow_null=True)
    added = serializers.IntegerField(source="text.added", default=0)
    removed = serializers.IntegerField(source="text.removed", default=0)
    cut = serializers.IntegerField(source="text.cut", default=0)
    hidden = serializers.DictField(
        source="text.hidden", child=serializers.IntegerField(), default=dict
    )
    all_hidden = serializers.BooleanField(source="text.all_hidden", default=False)
    hunks = HunkOut(source="text.hunks", many=True, default=list)


class DiffOut(serializers.Serializer[Any]):
    """The changed files in the order of paths, or (with `path`) one file's lines in `file`."""

    base = serializers.UUIDField(allow_null=True)
    snapshot = serializers.UUIDField(allow_null=True)
    counts = CountsOut(required=False)
    files = ChangeOut(many=True, required=False)
    next_after = serializers.CharField(required=False, allow_null=True)
    file = FileDiffOut(required=False)


@dataclass(frozen=True, slots=True)
class _Between:
    target: Target
    old: str | None
    new: str | None


def diff_of(
    target: Target, base: Snapshot | None, snapshot: Snapshot | None, query: dict[str, Any]
) -> dict[str, Any]:
    """Tell what differs between two snapshots of a target; None is an empty one."""
    for one in (base, snapshot):
        if one is not None:
            check_kept(one)
    sides = _Between(
        target,
        base.commit_id if base else None,
        snapshot.commit_id if snapshot else None,
    )
    told: dict[str, Any] = {
        "base": str(base.public_id) if base else None,
        "snapshot": str(snapshot.public_id) if snapshot else None,
    }
    if "path" in query:
        return told | {"file": _one_file(sides, query)}
    changes = vault.compare(target.public_id, sides.old, sides.new)
    files = [one for one in changes.files if one.path > query.get("after", "")]
    shown = files[:FILES]
    return told | {
        "counts": CountsOut(changes.counts).data,
        "files": [ChangeOut(one).data for one in shown],
        "next_after": shown[-1].path if len(files) > len(shown) else None,
    }


def _one_file(sides: _Between, query: dict[str, Any]) -> Any:
    path = query["path"]
    changes = vault.compare(sides.target.public_id, sides.old, sides.new, count_lines=False)
    change = next((one for one in changes.files if path in (one.new_path, one.old_path)), None)
    if change is None:
        raise Refused("not_changed", "This file does not differ between the two.", status=404)
    old = (sides.old, change.old_path) if sides.old and change.old_path else None
    new = (sides.new, change.new_path) if sides.new and change.new_path else None
    options = Options(
        hide_whitespace=query["hide_whitespace"],
        hide_comments=query["hide_comments"],
        hide_pattern=query["hide_pattern"],
        context=query["context"],
    )
    found = vault.file_diff_between(sides.target.public_id, old, new, options)
    return FileDiffOut(found).data | {"path": change.path}


def check_kept(snapshot: Snapshot) -> None:
    """Refuse (409) to read a snapshot whose bytes were purged; says when and by whom."""
    if snapshot.purged_at is not None:
        by = f" by {snapshot.purged_by}" if snapshot.purged_by else ""
        raise Refused("purged", f"This snapshot was purged{by} on {snapshot.purged_at:%Y-%m-%d}.")
