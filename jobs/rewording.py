"""How a commit message gets a model's words: once, after the run has ended, by a task."""

from __future__ import annotations

import json
import time

from django.conf import settings
from django.db import transaction

from sites import vault
from sites.models import Snapshot

from . import message_model, moves
from .describing import described
from .masking import masked, secrets_of
from .models import JobRun
from .states import FINAL, Result

# A tick asks for no longer, so that a slow model keeps one thread of the worker at most.
_TICK_S = 8.0


def reword_due() -> int:
    """Ask the model for the messages that wait for it; gives how many were replaced."""
    until = time.monotonic() + _TICK_S
    due = JobRun.objects.filter(message_due=True, status__in=FINAL).order_by("pk")
    replaced = 0
    for pk in due.values_list("pk", flat=True)[:20]:
        if time.monotonic() > until:
            break
        replaced += _reword(pk)
    return replaced


def _reword(pk: int) -> bool:
    """Replace one message. Whoever takes the mark away asks; a crash leaves the rules' message."""
    if not JobRun.objects.filter(pk=pk, message_due=True).update(message_due=False):
        return False
    run = JobRun.objects.select_related("target", "snapshot", "base_snapshot", "function").get(
        pk=pk
    )
    new, old, target = run.snapshot, run.base_snapshot, run.target
    if run.result != Result.MODIFIED or not settings.MESSAGE_MODEL_URL:
        return False
    if new is None or old is None or target is None or new.purged_at or old.purged_at:
        return False
    run.target_settings = json.dumps(target.settings)  # type: ignore[attr-defined]
    secrets = secrets_of(run)
    files = vault.compare(target.public_id, old.commit_id, new.commit_id, count_lines=False).files
    summary = described(
        target, old, new.commit_id, files, secrets=secrets, plain="", most_files=20, most_lines=20
    )
    words = message_model.ask(summary) if summary else None
    if words is None:
        return False
    listed = new.message.partition("\n")[2].strip()
    parts = [words.subject, words.text, listed]
    message = masked("\n\n".join(part for part in parts if part), secrets)
    with transaction.atomic():
        Snapshot.objects.filter(pk=new.pk).update(message=message)
        moves.tell([run.pk], "changed")
    return True
