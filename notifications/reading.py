"""What a person was told: those of their notifications that they may see now, read and unread."""

from __future__ import annotations

from typing import Any

from django.db.models import F, FilteredRelation, Q, QuerySet
from django.db.models.functions import Now

from sites.keyset import Order
from sites.models import Organization, User

from .models import ChannelKind, Notification
from .permissions import notification_policy

NEWEST = Order("at", F("at"), "time", descending=True)
# The bell counts no further.
COUNTED = 99


def own(user: User) -> QuerySet[Notification]:
    """Give what the person was told, as far as they may see now what it is about."""
    return notification_policy.rows(user, "read", Notification.objects.filter(recipient=user))


def count_unread(user: User, organization: Organization) -> int:
    """Count for the bell, up to one more than it shows: a partial index, whatever was told."""
    rows = own(user).filter(organization=organization, read_at=None).order_by()
    return rows[: COUNTED + 1].count()


def mark_read(notifications: QuerySet[Notification]) -> int:
    """Note that these were read; gives how many were not before."""
    return notifications.filter(read_at=None).update(read_at=Now())


def for_rows(notifications: QuerySet[Any]) -> QuerySet[Any]:
    """Join what a row shows, and how its mail stands (`mail_…`; `mail_id` null where none is)."""
    of_mail = FilteredRelation("deliveries", condition=Q(deliveries__channel=ChannelKind.EMAIL))
    return notifications.select_related("event", "organization", "site", "target").annotate(
        mail=of_mail,
        mail_id=F("mail__pk"),
        mail_sent_at=F("mail__sent_at"),
        mail_next_at=F("mail__next_at"),
        mail_error=F("mail__error"),
    )
