"""Which jobs and runs: chainable adjectives."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from django.db import connection, models
from django.db.models.functions import Cast, Coalesce, Now, StrIndex
from django.db.models.lookups import GreaterThan

from agents.models import FunctionVersion

from .states import ACTIVE, EXECUTING, OUTCOMES, Result, Status

if TYPE_CHECKING:
    from sites.models import User

    from .models import Job, JobRun  # noqa: F401 - named in quotes below


# By what lists of runs sort, never null. A run that never started stands by when it was made; one
# that has not ended is the newest to end, and has no duration yet. The constants are part of the
# text, not parameters: only so can a database read the list along an index of the expression.
STARTED = Coalesce(models.F("started_at"), models.F("created_at"))
FINISHED = models.Func(
    models.F("finished_at"),
    template="COALESCE(%(expressions)s, '9999-01-01 00:00:00+00')",
    output_field=models.DateTimeField(),
)
DURATION = models.Func(
    models.F("duration_s"),
    template="COALESCE(%(expressions)s, -1.0)",
    output_field=models.FloatField(),
)


_GOOD_BACKUP = models.Q(
    models.Q(result=Result.UP_TO_DATE)
    | models.Q(result=Result.MODIFIED, snapshot__accepted_at__isnull=False),
    status=Status.COMPLETED,
    makes_snapshot=True,
    snapshot__isnull=False,
    snapshot__purged_at=None,
)


def _has_tag(tag: str) -> models.Q:
    """Say "this tag is among the row's tags", in what each database understands."""
    if connection.vendor == "postgresql":
        return models.Q(tags__contains=[tag])
    # SQLite has no containment of JSON: look for the tag as JSON writes it, with its quotes.
    stored = Cast("tags", models.TextField())
    return models.Q(GreaterThan(StrIndex(stored, models.Value(json.dumps(tag))), 0))


# Of jobs: their own pause or their site's.
PAUSED = models.Q(paused_until__gt=Now()) | models.Q(site__paused_until__gt=Now())


class JobQuerySet(models.QuerySet["Job"]):
    """Job definitions."""

    def in_use(self) -> JobQuerySet:
        """Those that were not archived."""
        return self.filter(archived_at__isnull=True)

    def tagged(self, tag: str) -> JobQuerySet:
        """Those that bear this tag."""
        return self.filter(_has_tag(tag))

    def paused(self) -> JobQuerySet:
        """Those that start nothing now, because they or their sites are paused."""
        return self.filter(PAUSED)

    def with_kind(self) -> JobQuerySet:
        """Say of each whether it backs up: the function leaves a snapshot (`backs_up`)."""
        snapshots = FunctionVersion.objects.filter(
            function=models.OuterRef("function"), produces=FunctionVersion.Produces.SNAPSHOT
        )
        return self.annotate(backs_up=models.Exists(snapshots))


class RunQuerySet(models.QuerySet["JobRun"]):
    """Runs."""

    def active(self) -> RunQuerySet:
        """Those that have not ended."""
        return self.filter(status__in=ACTIVE)

    def executing(self) -> RunQuerySet:
        """Those that an agent holds."""
        return self.filter(status__in=EXECUTING)

    def pending(self) -> RunQuerySet:
        """Those that wait for an agent."""
        return self.filter(status=Status.PENDING)

    def with_outcome(self, outcome: str) -> RunQuerySet:
        """Those in one group: running, success, failed, partial or cancelled."""
        return self.filter(OUTCOMES[outcome])

    def with_results(self, results: Collection[str]) -> RunQuerySet:
        """Those with one of these results, which only completed runs have: their index asks it."""
        return self.filter(status=Status.COMPLETED, result__in=results)

    def mine(self, user: User) -> RunQuerySet:
        """Those that this person started."""
        return self.filter(started_by=user)

    def tagged(self, tag: str) -> RunQuerySet:
        """Those that bear this tag."""
        return self.filter(_has_tag(tag))

    def good_backups(self) -> RunQuerySet:
        """Those from which their target can be brought back: nothing differed, or what did was
        accepted (rule 10), and the files are still there.
        """
        return self.filter(_GOOD_BACKUP)

    def good(self) -> RunQuerySet:
        """Those that did what they were to do: good backups, and others that ended with success."""
        other = models.Q(status=Status.COMPLETED, makes_snapshot=False, result=Result.SUCCESS)
        return self.filter(_GOOD_BACKUP | other)

    def for_rows(self) -> RunQuerySet:
        """With all that a row of a list shows, in the same query."""
        return self.select_related(
            "organization",
            "site",
            "target",
            "job",
            "function__tool",
            "agent",
            "started_by",
            "snapshot",
            "base_snapshot",
            "requested_agent",
            "requested_pool",
        )
