"""What an organization keeps no longer: old logs, files and whole runs, and what never goes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from sites import sql
from sites.access.policy import Person
from sites.models import Organization, Snapshot, Target, User
from sites.problems import Refused

from . import moves
from .models import (
    Job,
    JobRun,
    LateReport,
    Proposal,
    Pruned,
    RunFile,
    RunInput,
    RunLog,
    RunRecord,
)
from .permissions import may_pin
from .querysets import RunQuerySet
from .states import FINAL

logger = logging.getLogger(__name__)

# So many rows go in a transaction.
ROWS = 500


@dataclass
class Tally:
    """How many rows went, or would go."""

    logs: int = 0  # pieces of logs
    files: int = 0
    inputs: int = 0
    records: int = 0
    reports: int = 0
    runs: int = 0
    snapshots: int = 0

    def __str__(self) -> str:
        names = {"logs": "pieces of logs", "reports": "late reports"}
        counted = {names.get(one.name, one.name): getattr(self, one.name) for one in fields(self)}
        return ", ".join(f"{number:,} {name}" for name, number in counted.items() if number)


class NotPruned(Exception):
    """Of some organizations something is left that should have gone: the log has the reasons."""

    def __init__(self, found: dict[Organization, Tally], failed: list[Organization]) -> None:
        names = ", ".join(str(one) for one in failed)
        super().__init__(f"Not pruned to the end: {names}. The log says why.")
        self.found = found


def prune(*, dry_run: bool = False) -> dict[Organization, Tally]:
    """Delete what organizations keep no longer, or count it; raises NotPruned after all of them.

    Never of a run that has not ended, that is to be tried again, that is pinned, whose change waits
    for a person, or that is the newest good one of its job (of its target, for a backup). May be
    cut off and begun again: each transaction leaves whole rows. Of files the rows go here, and what
    they point at with the next tidying of the storage; so do the snapshots' contents in the vault.
    """
    asked = Q(keep_runs_days__isnull=False) | Q(keep_logs_days__isnull=False)
    found: dict[Organization, Tally] = {}
    failed: list[Organization] = []
    for organization in Organization.objects.filter(asked | Q(keep_files_days__isnull=False)):
        found[organization] = tally = Tally()
        try:
            _prune(organization, tally, dry_run=dry_run)
        except Exception:
            logger.exception("%s was not pruned to its end.", organization)
            failed.append(organization)
    if failed:
        raise NotPruned(found, failed)
    return found


def _prune(organization: Organization, tally: Tally, *, dry_run: bool) -> None:
    kept = _newest_good(organization)
    for days, kinds in (
        (organization.keep_logs_days, (_LOGS,)),
        (organization.keep_files_days, (_FILES, _INPUTS)),
    ):
        if days is None or days >= (organization.keep_runs_days or days + 1):
            continue
        for kind in kinds:
            for runs in _ended(organization, days, kept, kind, dry_run=dry_run):
                _drop_left(runs, (kind,), days, tally, dry_run=dry_run)
    if organization.keep_runs_days is not None:
        days = organization.keep_runs_days
        for runs in _ended(organization, days, kept):
            _drop_left(runs, _EVERYTHING, days, tally, dry_run=dry_run)
            _drop_runs(runs, tally, dry_run=dry_run)


def pruned_of(run: JobRun, *, by: Person) -> list[Pruned]:
    """List what of a run is gone; that it was given files is for its starter alone (rule 4)."""
    found = run.pruned.order_by("what")
    hidden = () if run.started_by_id == by.pk else (Pruned.What.INPUTS,)
    return list(found.exclude(what__in=hidden))


def pin(run: JobRun, *, by: User) -> None:
    """Keep a run with all that it left, whatever its age; who may is `permissions.may_pin`."""
    _set_pin(run, Now(), by)


def unpin(run: JobRun, *, by: User) -> None:
    """Let a run go when its time comes; who may is `permissions.may_pin`."""
    _set_pin(run, None, by)


def _set_pin(run: JobRun, at: Any, by: User) -> None:
    if not may_pin(by, run):
        needed = "edits its job" if run.job_id is not None else "accepts its change"
        raise Refused("not_allowed", f"Keeping a run needs the role that {needed}.", status=403)
    with transaction.atomic():
        changed = JobRun.objects.filter(pk=run.pk, pinned_at__isnull=at is not None)
        if changed.update(pinned_at=at, updated_at=Now()):
            moves.tell([run.pk], "pinned" if at is not None else "unpinned")
    try:
        run.refresh_from_db(fields=["pinned_at"])
    except JobRun.DoesNotExist:
        raise Refused("gone", "This run was kept no longer.", status=404) from None


@dataclass(frozen=True)
class _Kind:
    """Rows that a run left, where they are counted, and what the run's page says of them."""

    model: type[Model]
    counted: str
    what: str = ""


_LOGS = _Kind(RunLog, "logs", Pruned.What.LOG)
_FILES = _Kind(RunFile, "files", Pruned.What.FILES)
_INPUTS = _Kind(RunInput, "inputs", Pruned.What.INPUTS)
_EVERYTHING = (_LOGS, _FILES, _INPUTS, _Kind(RunRecord, "records"), _Kind(LateReport, "reports"))


def _newest_good(organization: Organization) -> set[int]:
    """Find the newest good run of each job, and the newest good backup of each target."""
    of_job = JobRun.objects.filter(job=OuterRef("pk")).good()
    of_target = JobRun.objects.filter(target=OuterRef("pk")).good_backups()
    kept: set[int] = set()
    every: tuple[tuple[Any, RunQuerySet], ...] = ((Job, of_job), (Target, of_target))
    for model, good in every:
        newest = Subquery(good.order_by("-created_at", "-id").values("pk")[:1])
        rows = model.objects.filter(organization=organization).order_by()
        kept.update(pk for pk in rows.values_list(newest, flat=True) if pk is not None)
    return kept


def _prunable(before: datetime | None = None) -> RunQuerySet:
    waits = Proposal.objects.filter(run=OuterRef("pk"), state=Proposal.State.OPEN)
    runs = JobRun.objects.filter(~Exists(waits), status__in=FINAL, pinned_at=None, retry_at=None)
    return runs if before is None else runs.filter(finished_at__lt=before)


def _ended(
    organization: Organization,
    days: int,
    kept: set[int],
    kind: _Kind | None = None,
    *,
    dry_run: bool = False,
) -> Iterator[list[int]]:
    """Give the runs that ended so many days ago and may go, some at a time, the oldest first.

    With a `kind` those alone that still have left some of it; when it is only counted, without
    those that will go as a whole.
    """
    now = sql.clock()
    old = _prunable(now - timedelta(days=days)).filter(organization=organization)
    if kind is not None:
        old = old.filter(Exists(kind.model._default_manager.filter(run=OuterRef("pk"))))
        if dry_run and organization.keep_runs_days is not None:
            whole = now - timedelta(days=organization.keep_runs_days)
            old = old.filter(finished_at__gte=whole)
    last = 0
    while found := list(old.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:ROWS]):
        last = found[-1]
        if going := [pk for pk in found if pk not in kept]:
            yield going


def _held(runs: Sequence[int]) -> QuerySet[JobRun]:
    """Lock the runs that may still go: one may have been pinned since they were looked for."""
    return _prunable().filter(pk__in=runs).select_for_update(of=("self",)).order_by("pk")


def _drop_left(
    runs: Sequence[int], kinds: Sequence[_Kind], days: int, tally: Tally, *, dry_run: bool
) -> None:
    """Delete what runs left, and note on each what is gone."""
    for kind in kinds:
        rows = kind.model._default_manager.order_by("pk")
        if dry_run:
            _count(tally, kind.counted, rows.filter(run__in=runs).count())
            continue
        going: list[tuple[int, int]] = [(0, 0)]
        while going:
            with transaction.atomic():
                held = list(_held(runs).values_list("pk", flat=True))
                going = list(rows.filter(run__in=held).values_list("pk", "run")[:ROWS])
                if kind.what:
                    Pruned.objects.bulk_create(
                        (
                            Pruned(run_id=run, what=kind.what, after_days=days)
                            for run in sorted({run for _, run in going})
                        ),
                        ignore_conflicts=True,
                    )
                if kind is _LOGS:
                    # Nobody is promised bytes that are gone.
                    JobRun.objects.filter(pk__in={run for _, run in going}).update(log_length=0)
                rows.filter(pk__in=[pk for pk, _ in going]).order_by().delete()
            _count(tally, kind.counted, len(going))


def _drop_runs(runs: Sequence[int], tally: Tally, *, dry_run: bool) -> None:
    """Delete runs with their history, so many rows at once, and snapshots that nothing names."""
    if dry_run:
        _count(tally, "runs", len(runs))
        return
    # The number of a run's newest transition is how many it has. Beside those: itself, its
    # proposal, what says that its log, files and inputs are gone, and two snapshots.
    sizes = dict(JobRun.objects.filter(pk__in=runs).values_list("pk", "sequence"))
    batch: list[int] = []
    rows = 0
    for pk, transitions in sizes.items():
        if batch and rows + transitions + 7 > ROWS:
            _drop_batch(batch, tally)
            batch, rows = [], 0
        batch.append(pk)
        rows += transitions + 7
    if batch:
        _drop_batch(batch, tally)


def _drop_batch(runs: Sequence[int], tally: Tally) -> None:
    with transaction.atomic():
        held = {run.pk: run for run in _held(runs).only("pk", "snapshot", "base_snapshot")}
        # What an agent reports late may have come since.
        left = LateReport.objects.filter(run__in=held).values_list("run", flat=True)
        going = [pk for pk in held if pk not in set(left)]
        named = {held[pk].snapshot_id for pk in going} | {held[pk].base_snapshot_id for pk in going}
        JobRun.objects.filter(pk__in=going).delete()
        snapshots = _drop_snapshots({pk for pk in named if pk is not None})
    _count(tally, "runs", len(going))
    _count(tally, "snapshots", snapshots)


def _drop_snapshots(snapshots: set[int]) -> int:
    """Delete of these snapshots the rows that no run and no target names any more.

    Their files leave the vault with the tidying, which looks for what no row knows.
    """
    refers = Q(snapshot=OuterRef("pk")) | Q(base_snapshot=OuterRef("pk"))
    accepted = Target.objects.filter(accepted_snapshot=OuterRef("pk"))
    going = list(
        Snapshot.objects.filter(
            ~Exists(JobRun.objects.filter(refers)), ~Exists(accepted), pk__in=snapshots
        ).values_list("pk", flat=True)
    )
    Snapshot.objects.filter(pk__in=going).delete()
    return len(going)


def _count(tally: Tally, name: str, number: int) -> None:
    setattr(tally, name, getattr(tally, name) + number)
