"""A forgotten password: from the log-in page through the mail to a new one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.utils import timezone

from sites.models import Event, User
from sites.tasks import send_password_links
from tests import factories
from tests.pages import as_, words

pytestmark = [pytest.mark.django_db, pytest.mark.once]

NEW = "eleven small boats"
ASK = "/accounts/password/reset/"


def asked(email: str, **headers: str) -> Any:
    return Client(headers=headers).post(ASK, {"email": email}, follow=True)


def link() -> str:
    """The path of the mail that has left last."""
    found = re.search(r"^http://127\.0\.0\.1:8000(/\S+)$", str(mail.outbox[-1].body), re.M)
    assert found
    return found[1]


def logs_in(user: User, password: str) -> bool:
    sent = {"login": user.username, "password": password}
    return bool(Client().post("/accounts/login/", sent).status_code == 302)


def test_a_forgotten_password_is_set_anew_once(mia: User) -> None:
    other = as_(mia)
    assert ASK in Client().get("/accounts/login/").content.decode()
    assert "Look into your mail" in asked("Mia@Example.com").content.decode()
    assert mail.outbox == []
    assert (send_password_links(), send_password_links()) == (1, 0)
    (letter,) = mail.outbox
    assert letter.to == ["mia@example.com"]
    assert "“mia”" in str(letter.body)
    client, path = Client(), link()
    form = client.get(path, follow=True)
    # The secret is in no address that the browser would tell to another page.
    assert path not in form.redirect_chain[-1][0]
    at = form.redirect_chain[-1][0]
    weak = {"password1": "mia@example.com", "password2": "mia@example.com"}
    assert "too similar" in client.post(at, weak).content.decode()
    done = client.post(at, {"password1": NEW, "password2": NEW}, follow=True)
    assert "Your password is changed" in done.content.decode()
    assert logs_in(mia, NEW)
    assert not logs_in(mia, factories.PASSWORD)
    assert other.get("/profile").status_code == 302
    again = Client().get(path, follow=True)
    assert "works no more" in again.content.decode()


def test_nobody_learns_who_has_an_account(mia: User, oscar: User) -> None:
    User.objects.filter(pk=oscar.pk).update(is_active=False)
    emails = ("mia@example.com", "nobody@example.com", oscar.email)
    assert len({words(asked(email).content.decode()) for email in emails}) == 1
    assert send_password_links() == 1
    assert [one.to for one in mail.outbox] == [["mia@example.com"]]
    assert "Nothing was sent." in asked("no address").content.decode()


def test_the_link_leads_to_the_portals_own_address_for_some_hours(mia: User) -> None:
    asked("mia@example.com", host="localhost")
    send_password_links()
    path = link()
    with time_machine.travel(timezone.now() + timedelta(hours=5)):
        assert "works no more" in Client().get(path, follow=True).content.decode()
    for odd in (
        f"{path[:-5]}/",
        path.replace("reset/", "reset/zz"),
        "/accounts/password/reset/0-x/",
    ):
        assert "works no more" in Client().get(odd, follow=True).content.decode(), odd


def test_a_mail_server_that_is_away_is_tried_again_for_an_hour(
    mia: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: object, **more: object) -> None:
        raise ConnectionRefusedError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr("sites.mail.send", away)
        assert "Look into your mail" in asked("mia@example.com").content.decode()
        assert send_password_links() == 0
    assert "did not take a link for a new password" in caplog.text
    assert send_password_links() == 1
    asked("mia@example.com")
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        assert send_password_links() == 0
    assert "could not be sent within an hour" in caplog.text
    assert send_password_links() == 0
    assert len(mail.outbox) == 1


def test_a_link_is_not_lost_with_the_worker_that_was_about_to_send_it(
    mia: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object, **more: object) -> None:
        raise SystemExit

    asked("mia@example.com")
    with monkeypatch.context() as patch:
        patch.setattr("sites.mail.send", killed)
        with pytest.raises(SystemExit):
            send_password_links()
    assert send_password_links() == 0  # it may be at work still
    with time_machine.travel(timezone.now() + timedelta(minutes=3)):
        assert send_password_links() == 1
        assert send_password_links() == 0
    assert len(mail.outbox) == 1


def test_an_address_that_no_mail_can_have_keeps_nobody_waiting(mia: User, vera: User) -> None:
    User.objects.filter(pk=mia.pk).update(email="mia@\u00ad.com")
    User.objects.filter(pk__in=[mia.pk, vera.pk]).update(link_due_at=timezone.now())
    assert send_password_links() == 1
    assert not User.objects.exclude(link_due_at=None).exists()
    assert [one.to for one in mail.outbox] == [[vera.email]]


def test_the_address_may_be_written_in_any_case_and_belong_to_two(mia: User, vera: User) -> None:
    User.objects.filter(pk=mia.pk).update(email="Mia@Example.com")
    User.objects.filter(pk=vera.pk).update(email="mia@example.com")
    # Once Oscar's, as a provider had said.
    other = factories.superuser("other")
    EmailAddress.objects.create(user=other, email="mia@example.com", verified=True)
    asked("MIA@example.COM")
    assert send_password_links() == 2
    assert [one.to for one in mail.outbox] == [["Mia@Example.com"], ["mia@example.com"]]
    assert "“mia”" in str(mail.outbox[0].body)
    assert "“vera”" in str(mail.outbox[1].body)


def test_an_open_page_learns_that_the_password_is_another(mia: User) -> None:
    before = Event.objects.filter(kind="access.changed", subject_id=mia.public_id).count()
    asked("mia@example.com")
    send_password_links()
    client = Client()
    at = client.get(link(), follow=True).redirect_chain[-1][0]
    assert "no-store" in client.get(at)["Cache-Control"]
    client.post(at, {"password1": NEW, "password2": NEW})
    after = Event.objects.filter(kind="access.changed", subject_id=mia.public_id).count()
    assert after == before + 1


def test_asking_again_and_again_is_slowed_down(mia: User) -> None:
    answers = [asked("mia@example.com").status_code for _ in range(7)]
    assert answers[0] == 200
    assert answers[-1] == 429
