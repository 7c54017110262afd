"""What uploads and requests leave behind, and when it goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db.models.functions import Now

from sites import files, storage, vault
from sites.models import IdempotencyKey, Snapshot, Target

from . import inputs

STAGED_FOR = timedelta(hours=24)
KEYS_FOR = timedelta(hours=48)


def tidy() -> None:
    """Drop what is older than a day: uploads, inputs without a run, quarantines; old keys, refs."""
    before = datetime.now(UTC) - STAGED_FOR
    files.sweep_staging(before=before)
    storage.sweep_unfinished(before=before)
    inputs.sweep()
    vault.sweep_quarantines(before=before)
    IdempotencyKey.objects.filter(created_at__lt=Now() - KEYS_FOR).delete()
    for pk, public_id in Target.objects.values_list("pk", "public_id").iterator():
        known = Snapshot.objects.filter(target=pk, purged_at=None).values_list(
            "public_id", flat=True
        )
        vault.sweep_refs(public_id, set(known), before=before)
