"""Which jobs and runs: chainable adjectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from .states import ACTIVE, EXECUTING, OUTCOMES, Status

if TYPE_CHECKING:
    from sites.models import User

    from .models import Job, JobRun


class JobQuerySet(models.QuerySet["Job"]):
    """Job definitions."""

    def in_use(self) -> JobQuerySet:
        """Those that were not archived."""
        return self.filter(archived_at__isnull=True)


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

    def mine(self, user: User) -> RunQuerySet:
        """Those that this person started."""
        return self.filter(started_by=user)

    def for_rows(self) -> RunQuerySet:
        """With all that a row of a list shows, in the same query."""
        return self.select_related(
            "organization", "site", "target", "job", "function__tool", "agent", "started_by",
            "snapshot", "base_snapshot", "requested_agent", "requested_pool",
        )
