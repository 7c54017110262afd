"""What an organization has in file storage, for its limit."""

from django.db import models
from django.db.models.functions import Now

from .organization import Organization


class StoredFile(models.Model):
    """A blob in file storage, written after it is there and gone before it goes.

    A name that begins with `packs/` is what git holds of a target's snapshots.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="stored_files"
    )
    name = models.CharField(max_length=300, unique=True)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class StorageUse(models.Model):
    """The sum of an organization's stored files; whoever changes those holds this row."""

    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, related_name="storage_use"
    )
    bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.organization_id}: {self.bytes}"
