"""How Events become notifications: each is taken once, and marked with what came of it (rule 32).

There is no cursor: sequences commit out of order. An Event is taken while it is not marked, and is
marked in the transaction that writes what people are told of it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence

from django.db import InterfaceError, OperationalError, transaction

from sites import sql
from sites.models import Event
from sites.sql import Sql

from .decisions import Decided, decide
from .models import ChannelKind, Notification
from .news import PROBLEMS

logger = logging.getLogger(__name__)

# So many Events in a transaction.
BATCH = 500


def fan_out() -> int:
    """Decide who hears of what happened; gives how many notifications were written.

    Any number may be at it at once: each takes Events that no other one holds. One that cannot be
    decided is logged and passed over, and holds up no other.
    """
    told = 0
    while Event.objects.filter(fanned_out_at=None).exists():
        with transaction.atomic():
            events = _take(BATCH)
            told += _tell_each(events)
        if len(events) < BATCH:
            break
    return told


def _take(most: int) -> list[Event]:
    """Mark Events, in the caller's transaction, the oldest of those that nobody holds; give them.

    On PostgreSQL through an array, so that they are looked for once.
    """
    free = f"SELECT id FROM sites_event WHERE fanned_out_at IS NULL ORDER BY id LIMIT {most}"
    which = f"IN ({free})"
    if sql.on_postgresql():
        which = f"= ANY(ARRAY({free} FOR NO KEY UPDATE SKIP LOCKED))"
    statement = f"UPDATE sites_event SET fanned_out_at = {sql.now()} WHERE id {which} RETURNING *"
    return sorted(sql.objects(Event, Sql(statement)), key=lambda event: event.pk)


def _tell_each(events: Sequence[Event]) -> int:
    """Tell of Events that are held: of all together, or of each alone where that fails."""
    try:
        with transaction.atomic():
            return _write(decide(events))
    except (OperationalError, InterfaceError):
        # The database's moment: they stay as they were.
        raise
    except Exception:
        if len(events) > 1:
            logger.exception("Telling of %d events together failed; of each alone.", len(events))
            return sum(_tell_each([event]) for event in events)
        logger.exception("Nobody is told of event %s: it cannot be decided.", events[0].pk)
        return 0


_COLUMNS = {
    "public_id": "UUID",
    "event_id": "BIGINT",
    "recipient_id": "BIGINT",
    "organization_id": "BIGINT",
    "site_id": "BIGINT",
    "target_id": "BIGINT",
    "started_by_id": "BIGINT",
    "news": "TEXT",
    "because": "TEXT",
    "decision": "TEXT",
    "reason": "TEXT",
}


def _write(decided: Sequence[Decided]) -> int:
    """Write the notifications, and a delivery of each that is to be sent: two statements."""
    if not decided:
        return 0
    names = ", ".join(_COLUMNS)
    given = sql.table(
        "told",
        _COLUMNS,
        (
            {
                "public_id": uuid.uuid4(),
                "event_id": one.event.pk,
                "recipient_id": one.recipient.pk,
                "organization_id": one.event.organization_id,
                "site_id": one.event.site_id,
                "target_id": one.event.target_id,
                "started_by_id": one.event.starter_id,
                "news": one.news,
                "because": one.because,
                "decision": one.decision,
                "reason": one.reason,
            }
            for one in decided
        ),
    )
    written = sql.rows(
        Sql(
            f"INSERT INTO notifications_notification ({names})"
            f" SELECT {names} FROM {given.text} WHERE TRUE RETURNING id, decision, news",
            given.params,
        )
    )
    columns = {
        "public_id": "UUID",
        "notification_id": "BIGINT",
        "channel": "TEXT",
        "urgent": "BOOLEAN",
    }
    names = ", ".join(columns)
    rows = sql.table(
        "due",
        columns,
        (
            {
                "public_id": uuid.uuid4(),
                "notification_id": pk,
                "channel": ChannelKind.EMAIL,
                "urgent": news in PROBLEMS,
            }
            for pk, decision, news in written
            if decision == Notification.Decision.SENT
        ),
    )
    sql.rows(
        Sql(
            f"INSERT INTO notifications_delivery ({names}, attempts, error)"
            f" SELECT {names}, 0, '' FROM {rows.text} WHERE TRUE",
            rows.params,
        )
    )
    return len(written)
