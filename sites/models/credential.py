"""What a run needs to be let in somewhere: encrypted, sent with a claim alone, never read again."""

import uuid

from django.core.exceptions import ValidationError
from django.db import models

from .organization import Organization, User


class Credential(models.Model):
    """A secret of an organization (or of one site) that stands on targets; see `sites.credentials`.

    People read everything of it but `sealed`.
    """

    class Kind(models.TextChoices):
        PASSWORD = "password", "Password"
        KEY = "key", "Private key"
        HEADERS = "headers", "HTTP headers"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="credentials"
    )
    site = models.ForeignKey(
        "Site",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="credentials",
        help_text="Only targets of this site can have it; without one, those of all sites.",
    )
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.PASSWORD)
    username = models.CharField(max_length=300, blank=True)
    # The secret of now and those that it has replaced, as `sites.encryption.sealed` gives them.
    sealed = models.TextField(editable=False)
    created_by = models.ForeignKey(
        User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # When the secret was given, and by whom.
    changed_by = models.ForeignKey(
        User, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    changed_at = models.DateTimeField(editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                condition=models.Q(archived_at__isnull=True),
                name="credential_name_once",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=["password", "key", "headers"]), name="credential_kind"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a site of another organization."""
        if self.site and self.site.organization_id != self.organization_id:
            raise ValidationError({"site": "This site belongs to another organization."})
