"""The second factor and the list of log-ins: turned on in the profile, asked at every door."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.usersessions.models import UserSession
from auditlog.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sites import encryption, sessions
from sites.models import User
from tests import factories
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)


def browser(agent: str = FIREFOX, address: str = "192.0.2.7") -> Client:
    return Client(headers={"User-Agent": agent}, REMOTE_ADDR=address)


def log_in(client: Client, user: User) -> Any:
    body = {"login": user.username, "password": factories.PASSWORD}
    return client.post("/accounts/login/?next=/profile", body)


def logged_in(user: User, **about: str) -> Client:
    client = browser(**about)
    assert log_in(client, user).headers["Location"] == "/profile"
    return client


def code_of(secret: str) -> str:
    """What an authenticator app shows now."""
    (counter, *_) = yield_hotp_counters_from_time()
    return format_hotp_value(hotp_value(secret, counter))


def turned_on(client: Client) -> str:
    """Turn it on as a person does; gives the key that the app has."""
    asked = client.get("/accounts/second-factor/totp/activate/")
    if asked.status_code == 302:
        again = {"password": factories.PASSWORD}
        asked = client.post(asked.headers["Location"], again, follow=True)
    page = asked.content.decode()
    assert 'src="data:image/svg+xml;base64,' in page
    found = re.search(r'<span class="mono">(\w+)</span>', page)
    assert found
    wrong = client.post("/accounts/second-factor/totp/activate/", {"code": "000000"})
    assert "It is not on yet." in wrong.content.decode()
    done = client.post("/accounts/second-factor/totp/activate/", {"code": code_of(found[1])})
    assert done.headers["Location"] == "/accounts/second-factor/recovery-codes/"
    return found[1]


def test_a_password_alone_lets_nobody_in_any_more(alice: User) -> None:
    client = logged_in(alice)
    assert "Turn on" in client.get("/profile").content.decode()
    key = turned_on(client)
    codes = re.findall(
        r"^\d{8}$|(?<=>)\d{8}$",
        client.get("/accounts/second-factor/recovery-codes/").content.decode(),
        re.MULTILINE,
    )
    assert len(codes) == 10
    assert "asks for a code" in client.get("/profile").content.decode()

    other = browser()
    assert log_in(other, alice).headers["Location"].startswith("/accounts/second-factor/auth")
    for door in ("/profile", "/admin/", "/"):
        assert other.get(door).status_code == 302
    at = "/accounts/second-factor/authenticate/"
    assert "You are not logged in yet." in other.post(at, {"code": "123456"}).content.decode()
    # The code that turned it on was not used for a log-in yet; a later one is asked for.
    with time_machine.travel(timezone.now() + timedelta(seconds=31)):
        assert other.post(at, {"code": code_of(key)}).headers["Location"] == "/profile"
        assert other.get("/admin/").status_code == 200
        replayed = browser()
        log_in(replayed, alice)
        assert replayed.post(at, {"code": code_of(key)}).status_code == 200
    for answer in (302, 200):  # a recovery code works once
        third = browser()
        log_in(third, alice)
        assert third.post(at, {"code": codes[0]}).status_code == answer


def test_it_is_turned_off_by_oneself_or_by_a_superuser(alice: User, root: User) -> None:
    client = logged_in(alice)
    turned_on(client)
    page = client.get("/accounts/second-factor/totp/deactivate/")
    assert "Turn off the second factor?" in page.content.decode()
    client.post("/accounts/second-factor/totp/deactivate/")
    assert not Authenticator.objects.exists()
    turned_on(client)
    admin = Client()
    admin.force_login(root)
    path = reverse("admin:sites_user_remove_second_factor", args=[alice.pk])
    assert path in admin.get(f"/admin/sites/user/{alice.pk}/change/").content.decode()
    assert client.post(path).status_code == 403  # administrators change no accounts
    assert admin.post(path).status_code == 302
    assert not Authenticator.objects.exists()
    told = [(one.actor, one.changes) for one in LogEntry.objects.get_for_object(alice)]
    assert (root, {"second factor": ["on", "removed"]}) in told
    assert log_in(browser(), alice).headers["Location"] == "/profile"


def test_whoever_changes_it_enters_the_password_again(alice: User) -> None:
    """A browser that was left open is not enough, however short ago the log-in was."""
    client = logged_in(alice)
    asked = client.get("/accounts/second-factor/totp/activate/", follow=True)
    assert "Is it you?" in asked.content.decode()
    path = asked.redirect_chain[-1][0]
    wrong = client.post(path, {"password": "wrong"})
    assert "That was not it." in wrong.content.decode()
    turned_on(client)
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        for what in ("totp/deactivate", "recovery-codes", "recovery-codes/generate"):
            later = client.get(f"/accounts/second-factor/{what}/")
            assert "/reauthenticate/" in later.headers["Location"]
        asked = client.get("/accounts/second-factor/recovery-codes/", follow=True)
        assert "Is it you?" in asked.content.decode()


def test_its_secrets_are_encrypted_and_get_new_keys(
    alice: User, settings: Any, tmp_path: Any
) -> None:
    settings.DATA_DIR = tmp_path
    client = logged_in(alice)
    key = turned_on(client)
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert key not in stored
    call_command("rotate_keys", stdout=StringIO())
    call_command("rotate_keys", "--drop-old", stdout=StringIO())
    assert str(list(Authenticator.objects.values_list("data", flat=True))) != stored
    totp = Authenticator.objects.get(type=Authenticator.Type.TOTP)
    assert encryption.opened(totp.data["secret"]) == {"text": key}
    encryption.key_file().unlink()
    other = browser()
    log_in(other, alice)
    at = "/accounts/second-factor/authenticate/"
    assert other.post(at, {"code": code_of(key)}).status_code == 403


# --- log-ins -------------------------------------------------------------------------------------
def test_the_profile_lists_where_one_is_logged_in_and_ends_it(mia: User, vera: User) -> None:
    desk, phone, third = (
        logged_in(mia),
        logged_in(mia, agent=PHONE, address="198.51.100.9"),
        logged_in(mia, agent="curl/8.5"),
    )
    theirs = logged_in(vera)
    page = desk.get("/profile").content.decode()
    assert "Firefox on Linux" in page
    assert "192.0.2.7" in page
    assert "Safari on iOS" in page
    assert page.count('name="session" value="') == 3  # two others, and all others at once
    found = re.search(r'value="(\d+)" aria-label="End the log-in with Safari', page)
    assert found
    assert theirs.post("/profile/sessions/end", {"session": found[1]}).status_code == 302
    assert phone.get("/profile").status_code == 200
    answer = desk.post("/profile/sessions/end", {"session": found[1]}, follow=True)
    assert "Logged out: Safari on iOS at 198.51.100.9." in answer.content.decode()
    assert phone.get("/profile").status_code == 302
    assert third.get("/profile").status_code == 200
    assert desk.post("/profile/sessions/end", {"session": "others"}).status_code == 302
    assert [one.get("/profile").status_code for one in (desk, third, theirs)] == [200, 302, 200]
    for odd in ("", "x", "\0", "999999999999999999999"):
        assert desk.post("/profile/sessions/end", {"session": odd}).status_code == 302
    assert desk.get("/profile").status_code == 200


def test_another_password_ends_the_other_log_ins(mia: User) -> None:
    desk, phone = logged_in(mia), logged_in(mia, agent=PHONE)
    fresh = "another long secret"
    body = {"oldpassword": factories.PASSWORD, "password1": fresh, "password2": fresh}
    weak = body | {"password1": "mia@example.com", "password2": "mia@example.com"}
    assert "too similar" in desk.post("/accounts/password/change/", weak).content.decode()
    assert desk.post("/accounts/password/change/", body).status_code == 302
    assert phone.get("/profile").status_code == 302
    assert "Safari on iOS" not in desk.get("/profile").content.decode()


def test_log_ins_that_are_over_are_forgotten(mia: User) -> None:
    desk, phone, fresh = (logged_in(mia) for _ in range(3))
    UserSession.objects.filter(session_key=key_of(fresh)).update(session_key="not yet stored")
    old = UserSession.objects.exclude(session_key="not yet stored")
    old.update(created_at=timezone.now() - timedelta(days=3))
    Session.objects.filter(pk=key_of(phone)).update(expire_date=timezone.now())
    sessions.sweep(before=timezone.now() - timedelta(days=1))
    kept = set(UserSession.objects.values_list("session_key", flat=True))
    assert kept == {key_of(desk), "not yet stored"}
    assert not Session.objects.filter(pk=key_of(phone)).exists()
    assert desk.get("/profile").status_code == 200


def key_of(client: Client) -> str:
    return str(client.session.session_key)


def test_the_profile_costs_the_same_with_more_log_ins(
    mia: User, django_assert_max_num_queries: Any
) -> None:
    client = logged_in(mia)
    for _ in range(3):
        logged_in(mia)
    with django_assert_max_num_queries(12):
        assert client.get("/profile").status_code == 200


def test_a_token_is_asked_for_no_code(mia: User) -> None:
    """It was made by who had one, and is revoked where it leaks."""
    api = API(mia)
    turned_on(logged_in(mia))
    assert api.get("me").status_code == 200
