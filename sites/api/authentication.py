"""Who asks: a person's access token, or the portal's session."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from .. import tokens
from ..models import AccessToken, User

_USE_NOTED_EVERY = timedelta(minutes=1)


def person(request: Request) -> User:
    """Give the person who asks; a door that lets anonymous people in has not called this."""
    assert isinstance(request.user, User)
    return request.user


def valid_token(token: str) -> AccessToken | None:
    """Find the row of a valid access token, with its person; note its use once a minute."""
    public_id = tokens.public_id_in("user", token)
    if public_id is None:
        return None
    found = (
        AccessToken.objects.filter(public_id=public_id, revoked_at=None, user__is_active=True)
        .filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
        .select_related("user")
        .first()
    )
    if found is None or not tokens.matches(token, found.token_hash):
        return None
    AccessToken.objects.filter(pk=found.pk).filter(
        Q(last_used_at=None) | Q(last_used_at__lt=Now() - _USE_NOTED_EVERY)
    ).update(last_used_at=Now())
    return found


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer ym_user_…`; an agent's token is refused here.

    403 where a token that may only read is to change something, whatever its person may.
    """

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = valid_token(token.strip())
        if found is None:
            raise AuthenticationFailed(
                "This access token is not valid, has expired or was revoked."
            )
        if found.scope == AccessToken.Scope.READ and request.method not in SAFE_METHODS:
            raise PermissionDenied("This access token may only read: use one that may change too.")
        return found.user, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class PortalSessionAuthentication(SessionAuthentication):
    """The portal's own pages, with their CSRF token."""

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def refuse_tokens(request: Request) -> None:
    """Refuse (403) a valid access token where only a log-in counts; 401 for one that is not.

    For what would make a token outlive its end, or its being revoked.
    """
    if TokenAuthentication().authenticate(request) is not None:
        raise PermissionDenied(
            "An access token cannot manage access tokens: log in to the portal for that."
        )
