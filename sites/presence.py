"""When a person counts as seen, and how seldom that is written down."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from django.db import OperationalError
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

from .models import AccessToken, Membership, User

# A person at work costs one small write in this time, whatever they open.
NOTED_EVERY = timedelta(minutes=5)


def note(user: User, request: HttpRequest) -> None:
    """Note that the person of a session was here, unless that was noted a moment ago.

    What it asks was read with the session. A page that fetches its news by itself is not the
    person: a browser that was left open would be seen for weeks.
    """
    by_itself = request.method == "GET" and request.headers.get("HX-Request") == "true"
    now = timezone.now()
    if not by_itself and (user.seen_at is None or user.seen_at <= now - NOTED_EVERY):
        # What the person did stands, whether or not this can be written now.
        with suppress(OperationalError):
            User.objects.filter(pk=user.pk).update(last_seen_at=now)


def with_tokens_used(members: QuerySet[Membership]) -> QuerySet[Membership]:
    """Have `token_used_at` read with members: when a program last came with a token of theirs."""
    used = AccessToken.objects.filter(user=OuterRef("user"), last_used_at__isnull=False)
    newest = used.order_by("-last_used_at").values("last_used_at")[:1]
    return members.annotate(token_used_at=Subquery(newest))
