"""A forgotten password: from the log-in page through the mail to a new one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from sites.models import User
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
    assert [one.to for one in mail.outbox] == [["mia@example.com"]]
    assert "Nothing was sent." in asked("no address").content.decode()


def test_the_link_leads_to_the_portals_own_address_for_some_hours(mia: User) -> None:
    asked("mia@example.com", host="localhost")
    path = link()
    with time_machine.travel(timezone.now() + timedelta(hours=5)):
        assert "works no more" in Client().get(path, follow=True).content.decode()
    for odd in (
        f"{path[:-5]}/",
        path.replace("reset/", "reset/zz"),
        "/accounts/password/reset/0-x/",
    ):
        assert "works no more" in Client().get(odd, follow=True).content.decode(), odd


def test_a_mail_server_that_is_away_changes_nothing_of_the_page(
    mia: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: object, **more: object) -> None:
        raise ConnectionRefusedError("no answer")

    monkeypatch.setattr("sites.mail.send", away)
    assert "Look into your mail" in asked("mia@example.com").content.decode()
    assert "did not take a mail for a new password" in caplog.text


def test_asking_again_and_again_is_slowed_down(mia: User) -> None:
    answers = [asked("mia@example.com").status_code for _ in range(7)]
    assert answers[0] == 200
    assert answers[-1] == 429
    assert len(mail.outbox) < 7
