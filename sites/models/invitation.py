"""Who was asked to join, as what: until they did, or it is over."""

import uuid

from django.db import models

from .organization import Organization, Role, User
from .place import Site


class ObjectRole(models.TextChoices):
    """What a person is on a site or target; each includes those before it."""

    VIEWER = "viewer", "Viewer"
    EDITOR = "editor", "Editor"
    MAINTAINER = "maintainer", "Maintainer"
    OWNER = "owner", "Owner"


class Invitation(models.Model):
    """One person asked by mail to join an organization; the link works once and for some days."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="invitations"
    )
    email = models.EmailField()  # in small letters
    role = models.CharField(max_length=16, choices=Role, default=Role.MEMBER)
    token_hash = models.CharField(max_length=64, editable=False)
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    # Null while no mail with the link of now has left.
    sent_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_open_once",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="invitation_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.organization}"


class InvitedRole(models.Model):
    """A role on a site that comes with an invitation."""

    invitation = models.ForeignKey(Invitation, on_delete=models.CASCADE, related_name="site_roles")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=16, choices=ObjectRole)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["invitation", "site"], name="invited_role_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=ObjectRole.values), name="invited_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_role_display()} of {self.site}"
