"""How what is to be sent is sent: at least once, with one id on every try (rule 40).

Whoever takes a delivery holds it by a lease in the database, sends outside of any transaction, and
then writes down that it was sent. One that dies between the two leaves a delivery that is sent
again when the lease is over, with the same id.
"""

from __future__ import annotations

import logging
import random
import time
from enum import StrEnum
from smtplib import (
    SMTPDataError,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPResponseException,
)
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models.functions import Now

from sites import sql
from sites.mail import one_line
from sites.models import User
from sites.sql import Sql

from .channels import email
from .decisions import against_mail
from .models import Channel, ChannelKind, Delivery, Notification
from .permissions import notification_policy

logger = logging.getLogger(__name__)

# How long after the one before it each try is made.
TRIES_AFTER_S = (0, 5, 300, 1800, 7200, 18000, 36000)
# So much longer it may be, so that those that failed together do not come back together.
JITTER = 0.1
# Longer than a mail server may take for all that it is asked.
LEASE_S = 300
# A tick begins nothing after its interval: the next one goes on.
AT_IT_S = 5.0
LONGEST_ERROR = 300


# What is said of an address, not of the way to the server.
REFUSED = (SMTPRecipientsRefused, SMTPNotSupportedError, ValidationError)


class Taken(NamedTuple):
    """A delivery that is held, as the try that holds it."""

    pk: int
    attempt: int


class Outcome(StrEnum):
    """What came of a try."""

    SENT = "sent"
    WITHHELD = "withheld"  # it is not to be sent any more
    FAILED = "failed"
    AWAY = "away"  # the server was, and will be for the next one too


def deliver() -> int:
    """Send what is due; gives how much of it a server took.

    Any number may be at it at once. Where the server is away the tick ends: whoever else waits for
    it loses no try.
    """
    begun, sent = time.monotonic(), 0
    while time.monotonic() - begun < AT_IT_S and (taken := take()) is not None:
        outcome = carry_out(taken)
        sent += outcome == Outcome.SENT
        if outcome == Outcome.AWAY:
            break
    return sent


def take() -> Taken | None:
    """Hold the delivery that has been due for longest, for its next try; None where none is due.

    Of a problem first: thousands of mails that all went well do not put it off.
    """
    if not Delivery.objects.filter(next_at__lte=Now()).exists():
        return None
    now = sql.now()
    free = f"next_at <= {now} AND (lease_until IS NULL OR lease_until < {now})"
    lock = " FOR NO KEY UPDATE SKIP LOCKED" if sql.on_postgresql() else ""
    first, then = (
        f"(SELECT id FROM notifications_delivery WHERE {which} ORDER BY next_at, id LIMIT 1{lock})"
        for which in (f"urgent AND {free}", free)
    )
    found = sql.rows(
        Sql(
            "UPDATE notifications_delivery SET attempts = attempts + 1,"
            f" lease_until = {sql.later(str(LEASE_S))} WHERE id = COALESCE({first}, {then})"
            " RETURNING id, attempts"
        )
    )
    return Taken(*found[0]) if found else None


def carry_out(taken: Taken) -> Outcome:
    """Make a try of a delivery that is held: whether it is to be sent is asked again before."""
    delivery = Delivery.objects.select_related(
        "notification__recipient",
        "notification__event",
        "notification__organization",
        "notification__site",
        "notification__target",
    ).get(pk=taken.pk)
    if why := _against(delivery.notification):
        _withhold(taken, delivery, why)
        return Outcome.WITHHELD
    try:
        email.send(delivery)
    except Exception as error:
        # Whatever it is: it is tried again, and the person told in the end.
        logger.warning("Delivery %s failed in try %d.", delivery, taken.attempt, exc_info=True)
        _failed(taken, delivery, error)
        return Outcome.AWAY if _is_away(error) else Outcome.FAILED
    _sent(taken)
    return Outcome.SENT


def _is_away(error: Exception) -> bool:
    return isinstance(error, OSError) and not isinstance(error, (*REFUSED, SMTPDataError))


def _against(notification: Notification) -> str:
    """Say why a notification is not sent after all; empty where nothing speaks against it."""
    person = notification.recipient
    channel = off(person)
    if why := against_mail(person, channel.address if channel else None):
        return why
    seen = notification_policy.allows(person, "read", notification)
    return "" if seen else str(Notification.Reason.ACCESS_LOST)


def _held(taken: Taken) -> Sql:
    """That a delivery is still this try's: with a lease that was over it is another one's."""
    return Sql("id = %s AND attempts = %s AND next_at IS NOT NULL", (taken.pk, taken.attempt))


def _sent(taken: Taken) -> None:
    _write(taken, f"sent_at = {sql.now()}, next_at = NULL, lease_until = NULL, error = ''")


def _withhold(taken: Taken, delivery: Delivery, why: str) -> None:
    with transaction.atomic():
        if _write(taken, "next_at = NULL, lease_until = NULL, error = ''"):
            Notification.objects.filter(pk=delivery.notification_id).update(
                decision=Notification.Decision.SUPPRESSED, reason=why
            )


def _failed(taken: Taken, delivery: Delivery, error: Exception) -> None:
    """Put a delivery off to its next try. After the last one its person is told in the portal, and
    where it was the address that was refused, the channel is off.
    """
    words = _words_of(error)
    if taken.attempt < len(TRIES_AFTER_S):
        wait_s = TRIES_AFTER_S[taken.attempt] * random.uniform(1, 1 + JITTER)
        later = sql.later(f"{wait_s:.1f}")
        _write(taken, f"next_at = {later}, lease_until = NULL, error = %s", words)
        return
    with transaction.atomic():
        if not _write(taken, "next_at = NULL, lease_until = NULL, error = %s", words):
            return
        # What did not arrive is news again to whoever comes to the portal.
        Notification.objects.filter(pk=delivery.notification_id).update(read_at=None)
        if isinstance(error, REFUSED):
            _turn_off(delivery, words)


def _words_of(error: Exception) -> str:
    """Say what failed in the server's words where it has some, else in the library's."""
    words: bytes | str
    match error:
        case SMTPRecipientsRefused():
            [(code, words), *_] = error.recipients.values()
        case SMTPResponseException():
            code, words = error.smtp_code, error.smtp_error
        case ValidationError():
            return one_line(" ".join(error.messages), LONGEST_ERROR)
        case _:
            return one_line(f"{type(error).__name__}: {error}", LONGEST_ERROR)
    said = words.decode(errors="replace") if isinstance(words, bytes) else words
    return one_line(f"{code}: {said}", LONGEST_ERROR)


def _turn_off(delivery: Delivery, words: str) -> None:
    """Send a person nothing over a channel any more, until they turn it on again."""
    person = delivery.notification.recipient
    Channel.objects.update_or_create(
        user=person,
        kind=delivery.channel,
        defaults={"address": person.email, "disabled_at": Now(), "error": words},
    )


def off(user: User) -> Channel | None:
    """Say since when, and why, a person's mail is off; None while it is on."""
    return Channel.objects.filter(user=user, kind=ChannelKind.EMAIL, address=user.email).first()


def turn_on(user: User) -> bool:
    """Send a person mail again, about what happens from now on; False where it was not off."""
    return bool(Channel.objects.filter(user=user).delete()[0])


def _write(taken: Taken, changes: str, *params: str) -> bool:
    """Change a delivery that is held; False where another try has it by now."""
    which = _held(taken)
    text = f"UPDATE notifications_delivery SET {changes} WHERE {which.text} RETURNING id"
    return bool(sql.rows(Sql(text, (*params, *which.params))))
