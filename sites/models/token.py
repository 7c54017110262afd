"""What people's programs carry: access tokens, and the keys that make a POST repeatable."""

import uuid

from django.db import models

from .organization import User


class AccessToken(models.Model):
    """A personal access token: acts as its user, stored as a hash, shown once."""

    class Scope(models.TextChoices):
        READ = "read", "Read"
        FULL = "full", "Read and change"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=120)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.FULL)
    token_hash = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scope__in=["read", "full"]), name="access_token_scope"
            )
        ]

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """The answer that was given to a POST with this key, kept for 48 h."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)  # SHA-256 of method, path and body
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return self.key
