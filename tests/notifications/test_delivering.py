"""How mail is sent: at least once, with one id; tried again as rule 40 says; asked again before."""

from __future__ import annotations

import uuid
from datetime import timedelta
from smtplib import SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from jobs.models import Job
from notifications import delivering, fanning, tasks
from notifications.delivering import TRIES_AFTER_S, Outcome
from notifications.models import Channel, Delivery, Notification, Subscription
from sites import sql
from sites.access import set_role
from sites.members import remove_member
from sites.models import Membership, Site, User
from tests.factories import Enrolled
from tests.notifications.endings import failed, success

pytestmark = pytest.mark.django_db

AWAY: list[Exception] = [
    ConnectionRefusedError("refused"),
    TimeoutError("timed out"),
    SMTPServerDisconnected("gone\x00"),
]
REFUSED: list[Exception] = [
    SMTPRecipientsRefused({"edda@example.com": (550, b"No such mailbox")}),
    ValidationError("Enter a valid email address."),
]


@pytest.fixture
def due(job: Job, agent: Enrolled, edda: User, alice: User) -> Delivery:
    """A failure of which Edda alone is to be told."""
    User.objects.filter(pk=alice.pk).update(email="")
    failed(job, agent, edda)
    fanning.fan_out()
    return Delivery.objects.get()


def let_come() -> None:
    """Let the next try of all that waits have come."""
    Delivery.objects.filter(next_at__isnull=False).update(next_at=Now() - timedelta(seconds=1))


def answering(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str]:
    """Have the mail server fail; gives the ids of what it is asked to take."""
    asked: list[str] = []

    def send(*_: Any, headers: dict[str, str], **__: Any) -> None:
        asked.append(headers["Message-ID"])
        raise error

    monkeypatch.setattr("sites.mail.send", send)
    return asked


def test_what_is_due_is_sent_once(due: Delivery, edda: User) -> None:
    assert delivering.deliver() == 1
    assert delivering.deliver() == 0
    (letter,) = mail.outbox
    assert letter.to == [edda.email]
    assert letter.extra_headers["Message-ID"] == f"<{due.public_id}@127.0.0.1>"
    due.refresh_from_db()
    assert (due.state, due.attempts, due.next_at, due.lease_until) == ("sent", 1, None, None)


@pytest.mark.parametrize("error", [*AWAY, *REFUSED], ids=lambda error: type(error).__name__)
def test_a_mail_that_is_not_taken_is_tried_seven_times_with_one_id(
    error: Exception, due: Delivery, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 40: at 0 s, 5 s, 5 min, 30 min, 2 h, 5 h and 10 h after each other, a little later."""
    Notification.objects.update(read_at=Now())
    asked = answering(monkeypatch, error)
    expected = Outcome.FAILED if error in REFUSED else Outcome.AWAY
    waits = []
    for _ in TRIES_AFTER_S:
        let_come()
        taken = delivering.take()
        assert taken is not None
        assert delivering.carry_out(taken) == expected
        due.refresh_from_db()
        if due.next_at is not None:
            assert due.state == "retrying"
            waits.append((due.next_at - sql.clock()).total_seconds())
    for wait, least in zip(waits, TRIES_AFTER_S[1:], strict=True):
        assert least - 2 < wait <= least * 1.1
    assert (due.state, due.attempts, due.next_at) == ("failed", 7, None)
    known = {REFUSED[0]: "550: No such mailbox", REFUSED[1]: "Enter a valid email address."}
    said = f"{type(error).__name__}: {error}".rstrip("\x00")  # which PostgreSQL would not keep
    assert due.error == known.get(error, said)
    assert set(asked) == {f"<{due.public_id}@127.0.0.1>"}
    assert delivering.take() is None
    # The bell tells of it, whoever has read it before.
    assert Notification.objects.get(pk=due.notification_id).read_at is None
    # What is known of an address is on record; that a server was away says nothing of it.
    assert Channel.objects.filter(user=edda, address=edda.email).exists() is (error in REFUSED)


def test_an_address_that_no_mail_can_have_keeps_nobody_waiting(
    due: Delivery, job: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    User.objects.filter(pk=edda.pk).update(email="edda at example")
    User.objects.filter(pk=alice.pk).update(email="alice@example.com")
    failed(job, agent, edda)
    fanning.fan_out()
    assert delivering.deliver() == 1
    assert [one.to for one in mail.outbox] == [["alice@example.com"]]
    due.refresh_from_db()
    assert (due.state, due.error) == ("retrying", "Enter a valid email address.")


def test_a_channel_that_is_off_is_used_again_once_it_is_turned_on(
    due: Delivery, job: Job, agent: Enrolled, edda: User
) -> None:
    Channel.objects.create(user=edda, kind="email", address=edda.email, error="No such mailbox.")
    assert delivering.deliver() == 0
    due.refresh_from_db()
    assert (due.state, due.notification.reason) == ("withheld", "mail_off")
    assert delivering.turn_on(edda)
    assert not delivering.turn_on(edda)
    failed(job, agent, edda)
    fanning.fan_out()
    assert delivering.deliver() == 1


def test_a_server_that_is_away_costs_the_others_no_try(
    due: Delivery, job: Job, agent: Enrolled, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(job, agent, edda)
    fanning.fan_out()
    asked = answering(monkeypatch, AWAY[0])
    assert delivering.deliver() == 0
    assert len(asked) == 1
    assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0, 1]


# What happened between the decision and the sending → why nothing is sent.
MEANWHILE = ["access_lost", "no_address", "inactive"]


@pytest.mark.parametrize("why", MEANWHILE)
def test_it_is_asked_again_before_it_is_sent(
    why: str, due: Delivery, edda: User, hall: Site, manuel: User
) -> None:
    """Rule 13: what a person may not see any more does not leave."""
    if why == "access_lost":
        Job.objects.update(owner=manuel)
        remove_member(Membership.objects.get(user=edda))
    elif why == "no_address":
        User.objects.filter(pk=edda.pk).update(email="")
    else:
        User.objects.filter(pk=edda.pk).update(is_active=False)
    assert delivering.deliver() == 0
    assert mail.outbox == []
    told = Notification.objects.get(pk=due.notification_id)
    assert (told.decision, told.reason) == ("suppressed", why)
    due.refresh_from_db()
    assert (due.state, due.next_at) == ("withheld", None)
    assert delivering.take() is None


def test_a_starter_who_lost_the_site_hears_of_their_own_runs_still(
    due: Delivery, edda: User, hall: Site
) -> None:
    """As they see them: domain rule 2."""
    set_role(edda, None, on=hall)
    assert delivering.deliver() == 1


def test_a_problem_is_mailed_before_what_went_well(
    job: Job, agent: Enrolled, edda: User, alice: User, hall: Site
) -> None:
    """A night of thousands of backups does not put off the mail about the one that failed."""
    User.objects.filter(pk=alice.pk).update(email="")
    Subscription.objects.create(user=edda, site=hall, level="everything")
    for end in (success, failed, success):
        end(job, agent, edda)
        fanning.fan_out()
    assert delivering.deliver() == 3
    said = [letter.subject.partition(": ")[2].partition(" ")[0] for letter in mail.outbox]
    assert said == ["Failed", "Success", "Success"]


def test_a_mail_server_that_does_not_answer_takes_two_of_the_workers_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sweeps may share the worker with it (`up`), and a tick begins every 5 s."""
    at_it: list[int] = []

    def hang() -> int:
        at_it.append(1)
        assert len(at_it) <= tasks.AT_ONCE
        tasks.deliver()  # the next tick, while this one is at it
        return 0

    monkeypatch.setattr(delivering, "deliver", hang)
    for _ in range(2):
        at_it.clear()
        tasks.deliver()
        assert len(at_it) == tasks.AT_ONCE == 2


def test_one_try_at_a_time_holds_a_delivery(due: Delivery) -> None:
    first = delivering.take()
    assert first is not None
    assert delivering.take() is None
    Delivery.objects.update(lease_until=Now() - timedelta(seconds=1))
    second = delivering.take()
    assert second is not None
    assert (second.pk, second.attempt) == (first.pk, 2)
    assert delivering.carry_out(second) == Outcome.SENT
    sent_at = Delivery.objects.get().sent_at
    # The first one is heard of again: it holds nothing any more, and changes nothing.
    assert delivering.carry_out(first) == Outcome.SENT
    assert Delivery.objects.get().sent_at == sent_at
    assert mail.outbox[0].extra_headers == mail.outbox[1].extra_headers


def test_what_is_not_true_is_not_stored(due: Delivery) -> None:
    rows = (
        (Delivery, {"sent_at": Now()}, "delivery_waits_or_was_sent"),
        (Delivery, {"next_at": None, "lease_until": Now()}, "delivery_leased_while_it_waits"),
        (Notification, {"decision": "suppressed"}, "notification_reason"),
        (Notification, {"news": "rain"}, "notification_news"),
    )
    for model, changes, name in rows:
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            model.objects.update(**changes)
    told = due.notification
    for again in (due, told):
        again.pk, again.public_id = None, uuid.uuid4()
        with pytest.raises(IntegrityError, match=r"(?i)unique"), transaction.atomic():
            again.save(force_insert=True)
