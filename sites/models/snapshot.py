"""One immutable version of a target's files."""

import uuid

from django.db import models

from .organization import Organization, User
from .place import Target


class Snapshot(models.Model):
    """A sealed git tree in the target's vault; order, base and acceptance live here, not in git."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    target = models.ForeignKey(Target, on_delete=models.PROTECT, related_name="snapshots")
    # What it was compared with at seal; None for the first one.
    base = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    tree_id = models.CharField(max_length=40)
    commit_id = models.CharField(max_length=40)
    message = models.TextField(blank=True)
    files = models.PositiveIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    modified = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    renamed = models.PositiveIntegerField(default=0)
    # The starter of the run that made it: managers see the snapshots of their own runs.
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    purged_at = models.DateTimeField(null=True)
    purged_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["target", "-created_at", "-id"], name="snapshot_of_target")]

    def __str__(self) -> str:
        return f"{self.commit_id[:7]} of {self.target}"

    @property
    def changes(self) -> int:
        """How many files differ from the base."""
        return self.added + self.modified + self.removed + self.renamed
