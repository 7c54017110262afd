"""When a backup's commit message tells what changed, and how much is read for it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from sites import vault
from sites.models import Snapshot, Target
from sites.vault import FileChange, Options, TextDiff

from . import messages
from .telling import is_table

# A file larger than this is told by its size, and so are all once so much was read.
_FILE_BYTES = 256 * 1024
_BUDGET_BYTES = 1024 * 1024
# A backup waits no longer for its message; files that were not read by then are told by size.
_BUDGET_S = 1.0
# The lines around a change say whether it is a secret that is named above.
_OPTIONS = Options(context=12, max_lines=1_000)

log = structlog.get_logger(__name__)


def described(
    target: Target,
    base: Snapshot | None,
    commit_id: str,
    files: Sequence[FileChange],
    *,
    secrets: Sequence[str],
    plain: str,
    **most: int,
) -> str:
    """Say what changed since `base`; `plain` where there is nothing to say or it cannot be said.

    A message is worth no backup: whatever goes wrong here is logged, and the plain one stands.
    """
    if base is None or not files:
        return plain
    try:
        texts, heads = _read(target, base.commit_id, commit_id, files, **most)
        return messages.message_of(files, texts, heads=heads, secrets=secrets, **most)
    except Exception:
        log.exception("commit_message_failed", target=str(target.public_id), commit=commit_id)
        return plain


def _read(
    target: Target,
    old_commit: str,
    new_commit: str,
    files: Sequence[FileChange],
    *,
    most_files: int = messages.FILES_TOLD,
    **_: int,
) -> tuple[dict[str, TextDiff], dict[str, str]]:
    """Compare the files that are told, as long as they are small; the heads of tables with them."""
    texts: dict[str, TextDiff] = {}
    heads: dict[str, str] = {}
    left, until = _BUDGET_BYTES, time.monotonic() + _BUDGET_S
    for one in messages.told_of(files, most_files):
        sizes = [size for size in (one.old_size, one.new_size) if size is not None]
        if one.large or not one.edited or max(sizes, default=0) > _FILE_BYTES:
            continue
        left -= sum(sizes)
        if left < 0 or time.monotonic() > until:
            break
        old = (old_commit, one.old_path) if one.old_path else None
        new = (new_commit, one.new_path) if one.new_path else None
        diff = vault.file_diff_between(target.public_id, old, new, _OPTIONS)
        if diff.text is not None:
            texts[one.path] = diff.text
        side = diff.new or diff.old
        if diff.text is not None and side is not None and is_table(one.path):
            text = vault.preview(target.public_id, side).text or ""
            heads[one.path] = text.split("\n", 1)[0][:1_000]
    return texts, heads
