"""What starts by itself: a job, or all jobs of a site that are marked for it; and each start."""

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sites.models import Organization, Site, Target, User
from sites.problems import Refused

from ..schedule import LONGEST_CRON, Kind, Schedule, of, reading

# A start that was decided more than so many seconds after its time was late.
LATE_S = 60


class Scheduled(models.Model):
    """Has times at which it starts, in its site's zone; `next_run_at` is the first still ahead."""

    schedule_kind = models.CharField(
        max_length=10, choices=Kind, blank=True, default=Kind.NONE, db_default=""
    )
    schedule_time = models.TimeField(null=True, blank=True)  # of daily, workdays and weekly
    schedule_days = models.JSONField(default=list, blank=True, db_default=[])  # of weekly: "mon", …
    schedule_cron = models.CharField(max_length=LONGEST_CRON, blank=True, default="", db_default="")
    next_run_at = models.DateTimeField(null=True, editable=False)
    # Why it starts nothing although it should; empty unless its times cannot be found any more.
    schedule_fault = models.CharField(
        max_length=300, blank=True, default="", db_default="", editable=False
    )

    site: Any

    class Meta:
        abstract = True

    @property
    def schedule(self) -> Schedule:
        """Its times, in its site's zone."""
        return of(self, self.site.time_zone)

    @property
    def schedule_text(self) -> str:
        """Its times in words, without the zone."""
        try:
            return reading(self.schedule)
        except Refused:
            return self.schedule_cron


class SiteSchedule(Scheduled):
    """One time at which every job of a site that is marked for it is queued, in their order."""

    site = models.OneToOneField(Site, on_delete=models.CASCADE, related_name="schedule")
    at_once = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(at_once__gte=1), name="site_schedule_at_once")
        ]
        indexes = [
            models.Index(
                fields=["next_run_at"],
                condition=Q(next_run_at__isnull=False),
                name="site_schedule_due",
            )
        ]

    def __str__(self) -> str:
        return f"Schedule of {self.site}"


class Occurrence(models.Model):
    """One planned start of a job: that it was made, or why it was not.

    Append-only, but for `never_began`, which the end of its run writes.
    """

    class Outcome(models.TextChoices):
        STARTED = "started", "Started"
        SKIPPED = "skipped", "Skipped"
        MISSED = "missed", "Missed"

    class Reason(models.TextChoices):
        """Why a planned start made no run."""

        OVERLAP = "overlap", "The run before it was still at work"
        PAUSED = "paused", "Paused"
        REFUSED = "refused", "It could not be started"
        TOO_LATE = "too_late", "The portal was late"

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="occurrences", db_index=False
    )
    site = models.ForeignKey(
        Site, on_delete=models.CASCADE, related_name="occurrences", db_index=False
    )
    target = models.ForeignKey(Target, on_delete=models.CASCADE, related_name="+", db_index=False)
    job = models.ForeignKey(
        "jobs.Job", on_delete=models.CASCADE, related_name="occurrences", db_index=False
    )
    # The job's owner then, whose run it is.
    starter = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", db_index=False)
    planned_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())  # when it was decided
    # How long after its time that was, in whole seconds: a run is made in the same transaction.
    late_s = models.PositiveIntegerField(default=0, db_default=0)
    outcome = models.CharField(max_length=8, choices=Outcome)
    reason = models.CharField(max_length=10, choices=Reason, blank=True)
    message = models.CharField(max_length=500, blank=True)
    # Its run was made, and ended before its work had begun: nobody took it, or it was taken back.
    # Kept here, so that the calendar joins no runs, and knows it when the run was pruned.
    never_began = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        constraints = [
            # The truth of "once": any number of planners insert it, one succeeds.
            models.UniqueConstraint(fields=["job", "planned_at"], name="occurrence_once"),
            models.CheckConstraint(
                condition=Q(outcome="started", reason="")
                | (Q(outcome__in=["skipped", "missed"]) & ~Q(reason="")),
                name="occurrence_reason",
            ),
            models.CheckConstraint(
                condition=Q(never_began=False) | Q(outcome="started"),
                name="occurrence_never_began",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-planned_at", "-id"], name="occurrence_of_org"),
            models.Index(fields=["site", "-planned_at", "-id"], name="occurrence_of_site"),
            models.Index(fields=["target", "-planned_at", "-id"], name="occurrence_of_target"),
            models.Index(fields=["starter", "-planned_at", "-id"], name="occurrence_of_starter"),
            # What is rare is not looked for among all that is not.
            models.Index(
                fields=["organization", "-planned_at", "-id"],
                condition=Q(outcome__in=["skipped", "missed"])
                | Q(late_s__gt=LATE_S)
                | Q(never_began=True),
                name="occurrence_unusual",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job} at {self.planned_at:%Y-%m-%d %H:%M}"

    @property
    def is_late(self) -> bool:
        """Whether its run was made, and late."""
        return self.outcome == self.Outcome.STARTED and self.late_s > LATE_S

    @property
    def fate(self) -> str:
        """What became of it: missed, never_began, skipped, late or ran (`jobs.ledger.FATES`)."""
        if self.outcome != self.Outcome.STARTED:
            return str(self.outcome)
        if self.never_began:
            return "never_began"
        return "late" if self.is_late else "ran"
