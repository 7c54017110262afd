"""Members of an organization who are given roles together."""

import uuid

from django.contrib.auth.models import Group
from django.db import models

from .organization import Organization


class Team(models.Model):
    """A group of one organization: what Django's groups do not know is where they belong.

    The group holds the people and the grants; its name only tells groups apart.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="teams")
    name = models.CharField(max_length=120)
    group = models.OneToOneField(
        Group, editable=False, on_delete=models.CASCADE, related_name="team"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="team_name_once")
        ]

    def __str__(self) -> str:
        return self.name

    def get_additional_data(self) -> dict[str, int]:
        """Say in the audit log whose team it was: one that was deleted leaves no row."""
        return {"organization": self.organization_id}
