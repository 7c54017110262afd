"""What uploads and requests leave behind, and when it goes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.db.models.functions import Now

from sites import files, quota, sessions, storage, vault
from sites.models import IdempotencyKey, Organization, Snapshot, Target

from . import evidence, inputs, snapshots
from .models import RunFile, RunInput

Row = TypeVar("Row", bound=Model)

STAGED_FOR = timedelta(hours=24)
KEYS_FOR = timedelta(hours=48)
# The upload for a snapshot may take days: its content is pointed at when it is sealed.
CONTENT_FOR = timedelta(days=7)


def tidy() -> None:
    """Drop what is older than a day: uploads, inputs without a run, quarantines; old keys, refs,
    log-ins that are over.
    """
    before = datetime.now(UTC) - STAGED_FOR
    files.sweep_staging(before=before)
    storage.sweep_unfinished(before=before)
    inputs.sweep()
    vault.sweep_quarantines(before=before)
    sessions.sweep(before=before)
    IdempotencyKey.objects.filter(created_at__lt=Now() - KEYS_FOR).delete()
    for pk, public_id in Target.objects.values_list("pk", "public_id").iterator():
        known = Snapshot.objects.filter(target=pk, purged_at=None).values_list(
            "public_id", flat=True
        )
        vault.sweep_refs(public_id, set(known), before=before)


def tidy_storage() -> None:
    """Delete what lies in file storage for nobody, then count anew what each organization keeps."""
    before = datetime.now(UTC) - STAGED_FOR
    evidence.sweep(before=before)
    for organization in Organization.objects.all():
        targets = Target.objects.filter(organization=organization)
        vault.sweep_content(
            organization.public_id,
            targets.values_list("public_id", flat=True),
            before=datetime.now(UTC) - CONTENT_FOR,
            going=quota.count_out,
        )
    for target in _in_pieces(Target.objects.select_related("organization")):
        snapshots.count_packs(target)
    kept = ((one.storage_name, one.size) for one in _in_pieces(RunFile.objects.all()))
    given = ((one.storage_name, one.size) for one in _in_pieces(RunInput.objects.all()))
    contents = ((one.name, one.size) for one in storage.stored_below("content"))
    quota.recount(chain(kept, given, contents))


def _in_pieces(rows: QuerySet[Row]) -> Iterator[Row]:
    """Give all rows of a long list, of which nothing is being read meanwhile.

    SQLite refuses to write beside an open list once somebody else has written.
    """
    last = 0
    while piece := list(rows.filter(pk__gt=last).order_by("pk")[:1_000]):
        yield from piece
        last = piece[-1].pk
