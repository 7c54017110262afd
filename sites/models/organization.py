"""The tenant, its people and their roles."""

import uuid
from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class User(AbstractUser):
    """A person who logs in; what they may do comes from memberships and grants, never from here."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # Since when a link for a new password waits to be mailed.
    link_due_at = models.DateTimeField(null=True, editable=False)
    link_taken_at = models.DateTimeField(null=True, editable=False)
    # When `sites.presence` last noted a person at work: seldom, and not where a log-in says the
    # same. The column has an older name, by which a process reads it that is not restarted yet.
    noted_at = models.DateTimeField(null=True, editable=False, db_column="last_seen_at")

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    @property
    def last_seen_at(self) -> datetime | None:
        """When the person was last here, logging in included, to within some minutes."""
        return max(filter(None, (self.last_login, self.noted_at)), default=None)


LONGEST_KEPT_DAYS = 100 * 365


def keep_days(what: str, otherwise: str) -> models.PositiveIntegerField:
    """How long something is kept after its run ended, in days."""
    return models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_KEPT_DAYS)],
        help_text=f"So many days after a run has ended {what} are pruned. Empty: {otherwise}.",
    )


class Organization(models.Model):
    """The tenant: nothing of one is ever visible in another."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120, unique=True)
    storage_limit_mb = models.PositiveIntegerField(
        "storage limit",
        null=True,
        blank=True,
        help_text="In megabytes: files of runs, inputs, and snapshots as they are packed. "
        "Empty is the installation's limit, 0 none.",
    )
    keep_runs_days = keep_days("whole runs with their history and records", "kept for ever")
    keep_logs_days = keep_days("the logs of runs", "kept as long as their runs")
    keep_files_days = keep_days("the files and inputs of runs", "kept as long as their runs")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member is in the organization; each includes those below it."""

    ADMINISTRATOR = "administrator", "Administrator"
    MANAGER = "manager", "Manager"
    MEMBER = "member", "Member"


class Membership(models.Model):
    """A user's role in an organization."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}: {self.get_role_display()}"

    def get_additional_data(self) -> dict[str, int]:
        """Say in the audit log whose member it was: a membership that ended leaves no row."""
        return {"organization": self.organization_id}
