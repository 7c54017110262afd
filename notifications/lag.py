"""Decides for how long what is to be told has waited, and when that is late (rule 31)."""

from __future__ import annotations

from sites import sql
from sites.sql import Sql

# A few of the ticks that decide and send, and a mail server that takes its time.
LATE_AFTER_S = 300


def oldest_waiting_s() -> float | None:
    """Give for how long the oldest has waited that nobody was told of yet; None where none does.

    That is an Event about which nothing is decided, or a delivery, since it was due: one that waits
    for its next try waits on purpose. One statement, along the partial indexes of both.
    """
    event = (
        f"SELECT {sql.seconds_since('event.at')} FROM sites_event AS event"
        " WHERE event.fanned_out_at IS NULL ORDER BY event.id LIMIT 1"
    )
    delivery = (
        f"SELECT {sql.seconds_since('MIN(delivery.next_at)')}"
        f" FROM notifications_delivery AS delivery WHERE delivery.next_at <= {sql.now()}"
    )
    [ages] = sql.rows(Sql(f"SELECT ({event}), ({delivery})"))
    return max((max(float(age), 0.0) for age in ages if age is not None), default=None)


def is_late(age_s: float | None, *, watched_s: float) -> bool:
    """Say whether it is late, for who has watched for so long: longer than that it may have been
    everything that was away, and comes back now.
    """
    return age_s is not None and min(age_s, watched_s) > LATE_AFTER_S
