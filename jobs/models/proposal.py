"""A change that waits for a person's word: where a job accepts nothing by itself."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sites.models import Organization, Site, Target, User

from .run import JobRun


class Proposal(models.Model):
    """What a completed backup found, and what was decided about it, by whom, when and why."""

    class State(models.TextChoices):
        OPEN = "open"  # an editor decides, or a newer backup of the target takes its place
        ACCEPTED = "accepted"  # its snapshot became the accepted one
        REJECTED = "rejected"  # changed nothing
        SUPERSEDED = "superseded"  # a newer proposal of the target took its place

    run = models.OneToOneField(JobRun, on_delete=models.CASCADE, related_name="proposal")
    # The run's own: a list of them is narrowed by who may see the run.
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+", db_index=False)
    target = models.ForeignKey(
        Target, on_delete=models.PROTECT, related_name="proposals", db_index=False
    )
    started_by = models.ForeignKey(
        User, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    created_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(
        User, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    comment = models.TextField(blank=True)
    superseded_by = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(
                fields=["organization", "-created_at", "-id"], name="proposal_of_organization"
            ),
            models.Index(
                fields=["organization", "-created_at", "-id"],
                condition=Q(state="open"),
                name="proposal_open",
            ),
            # Runs that are kept no longer go with theirs.
            models.Index(
                fields=["superseded_by"],
                condition=Q(superseded_by__isnull=False),
                name="proposal_superseded_by",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["target"], condition=Q(state="open"), name="proposal_one_open"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["open", "superseded"], decided_by=None, comment="")
                | (
                    Q(state__in=["accepted", "rejected"], decided_at__isnull=False)
                    & Q(decided_by__isnull=False)
                    & ~Q(comment="")
                ),
                name="proposal_decided",
            ),
        ]

    def __str__(self) -> str:
        return f"change of {self.run}"
