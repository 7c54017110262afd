"""When a person counts as seen, and how seldom that is written down."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from django.db import Error, connection, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from . import sql
from .models import AccessToken, Membership, User

# A person at work costs one small write in this time, whatever they open.
NOTED_EVERY = timedelta(minutes=5)


def note(user: User) -> None:
    """Note that the person of a session was here, unless that was noted a moment ago.

    What it asks was read with the session.
    """
    now = timezone.now()
    if user.last_seen_at is not None and user.last_seen_at > now - NOTED_EVERY:
        return
    # Once, however many came at the same moment.
    due = User.objects.filter(Q(noted_at=None) | Q(noted_at__lte=now - NOTED_EVERY), pk=user.pk)
    # The person gets their page, whether or not this can be written now; the next one notes it.
    with suppress(Error):
        _write_without_waiting(due, now)


def _write_without_waiting(due: QuerySet[User], now: datetime) -> None:
    if sql.on_postgresql():
        with transaction.atomic():
            free = due.select_for_update(skip_locked=True, no_key=True)
            User.objects.filter(pk__in=free.values("pk")).update(noted_at=now)
        return
    patience_ms = 1000 * connection.settings_dict["OPTIONS"]["timeout"]
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            due.update(noted_at=now)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {patience_ms}")


def with_tokens_used(members: QuerySet[Membership]) -> QuerySet[Membership]:
    """Have `token_used_at` read with members: when a program last came with a token of theirs."""
    used = AccessToken.objects.filter(user=OuterRef("user"), last_used_at__isnull=False)
    newest = used.order_by("-last_used_at").values("last_used_at")[:1]
    return members.annotate(token_used_at=Subquery(newest))
