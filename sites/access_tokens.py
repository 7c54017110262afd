"""How a person's access token comes to be, and how it ends."""

from __future__ import annotations

from datetime import datetime

from django.db.models.functions import Now
from django.utils import timezone

from . import tokens
from .models import AccessToken, User
from .problems import Refused

MOST = 100


def issue(
    user: User,
    *,
    name: str,
    scope: str = AccessToken.Scope.FULL,
    expires_at: datetime | None = None,
) -> tuple[AccessToken, str]:
    """Make a token that acts as the person: the row, and the token itself, shown once."""
    if expires_at is not None and expires_at <= timezone.now():
        words = "This time is over already."
        raise Refused("invalid", words, status=422, errors={"expires_at": [words]})
    if AccessToken.objects.filter(user=user, revoked_at=None).count() >= MOST:
        raise Refused("too_many_tokens", f"You have {MOST} access tokens; revoke one first.")
    row = AccessToken(user=user, name=name, scope=scope, expires_at=expires_at)
    token, row.token_hash = tokens.make("user", row.public_id)
    row.save()
    return row, token


def revoke(row: AccessToken) -> None:
    """End a token from the next request on; ending it again changes nothing."""
    AccessToken.objects.filter(pk=row.pk, revoked_at=None).update(revoked_at=Now())


def revoke_all_of(user: User) -> None:
    """End every token of a person."""
    AccessToken.objects.filter(user=user, revoked_at=None).update(revoked_at=Now())
