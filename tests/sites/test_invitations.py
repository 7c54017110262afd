"""Invitations: from the administrator's form through the mail to the person who has joined."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from sites.access import roles_of
from sites.members import add_member, remove_member, set_member_role
from sites.models import Invitation, Membership, Organization, Site, User
from tests import factories
from tests.pages import as_
from tests.people import API, logged_in

NEW = {
    "first_name": "Nora",
    "last_name": "North",
    "password": "eleven small boats",
    "again": "eleven small boats",
}


def link(number: int = -1) -> str:
    """The path in a mail that has left."""
    found = re.search(r"^http://127\.0\.0\.1:8000(/join/\S+)$", str(mail.outbox[number].body), re.M)
    assert found
    return found[1]


def main_of(answer: Any) -> str:
    return str(answer.content.decode().partition("<main")[2].partition("</main>")[0])


def html_of(letter: Any) -> str:
    ((text, kind),) = letter.alternatives
    assert kind == "text/html"
    return str(text)


def invite(by: User, email: str = "nora@example.com", **more: Any) -> Any:
    answer = API(by).post("invitations", {"email": email} | more)
    assert answer.status_code == 201, answer.content
    return answer.json()


def belongs(email: str, to: Organization) -> bool:
    return Membership.objects.filter(user__email=email, organization=to).exists()


def test_somebody_is_invited_and_joins_with_a_new_account(
    alice: User, works: Organization, hall: Site
) -> None:
    client = as_(alice)
    sent = client.post(
        "/members/invitations/add",
        {
            "email": "Nora@Example.com",
            "role": "manager",
            "site_role": "editor",
            "sites": [hall.public_id],
        },
    )
    assert sent.headers["Location"] == "/members/invitations"
    assert "nora@example.com" in client.get("/members/invitations").content.decode()
    (letter,) = mail.outbox
    assert (letter.to, letter.subject) == (
        ["nora@example.com"],
        "Alice invites you to North Works",
    )
    assert f'href="http://127.0.0.1:8000{link()}"' in html_of(letter)
    invitation = Invitation.objects.get()
    assert link().rpartition("/")[2] not in str(vars(invitation))
    assert invitation.sent_at is not None
    assert timedelta(6) < invitation.expires_at - timezone.now() <= timedelta(7)

    nora = Client()
    for _ in range(2):  # a program that reads mail has looked first
        assert "Join North Works" in nora.get(link()).content.decode()
    answer = nora.post(link(), NEW)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    user = User.objects.get(email="nora@example.com")
    assert (str(user), user.check_password(NEW["password"])) == ("Nora North", True)
    assert Membership.objects.get(user=user).role == "manager"
    assert roles_of(user, works) == [("site", hall, "editor")]
    assert "Welcome to North Works." in nora.get("/").content.decode()
    assert Client().post(link(), NEW | {"first_name": "Eve"}).status_code == 404
    assert User.objects.filter(email="nora@example.com").count() == 1
    log_in = {"login": "nora@example.com", "password": NEW["password"]}
    assert Client().post("/accounts/login/", log_in).status_code == 302


@pytest.mark.once
def test_who_has_an_account_joins_with_one_click(alice: User, oscar: User, mia: User) -> None:
    """The administrator's answer is the same as for an address without one."""
    works = Membership.objects.get(user=alice).organization
    User.objects.filter(pk=oscar.pk).update(email="Oscar@Example.com")
    known = invite(alice, "oscar@example.com")
    fresh = invite(alice, "nora@example.com")
    differ = {key for key in known if known[key] != fresh[key]}
    assert differ <= {"id", "email", "created_at", "sent_at", "expires_at"}
    page, other = (
        re.sub(r'oscar|nora|value="\S+"|/join/[\w-]+', "", main_of(Client().get(link(number))))
        for number in (0, 1)
    )
    assert page == other
    refused = Client().post(link(0), NEW)
    assert refused.status_code == 422
    assert "log in with it" in refused.content.decode()
    assert User.objects.filter(email__iexact="oscar@example.com").count() == 1
    # Somebody else's log-in does not do.
    stranger = as_(mia)
    assert "Log out, then open the link again" in stranger.get(link(0)).content.decode()
    assert stranger.post(link(0)).status_code == 422
    assert not belongs("Oscar@Example.com", works)
    client = as_(User.objects.get(pk=oscar.pk))
    assert client.post(link(0)).headers["Location"] == "/"
    assert belongs("Oscar@Example.com", works)
    assert client.get(link(0)).headers["Location"] == "/"
    assert Client().get(link(0)).status_code == 404


@pytest.mark.once
def test_a_link_ends_when_it_is_old_replaced_or_revoked(alice: User) -> None:
    api, made = logged_in(alice), invite(alice)
    first = link()
    assert api.post(f"invitations/{made['id']}/send").json()["code"] == "too_soon"
    assert len(mail.outbox) == 1
    Invitation.objects.update(sent_at=timezone.now() - timedelta(minutes=2))
    assert api.post(f"invitations/{made['id']}/send").status_code == 200
    second = link()
    assert Client().get(first).status_code == 404
    with time_machine.travel(timezone.now() + timedelta(days=8)):
        over = Client().get(second)
        assert (over.status_code, Client().post(second, NEW).status_code) == (404, 404)
        assert "works no more" in over.content.decode()
        page = as_(alice).get("/members/invitations").content.decode()
        assert "Expired" in page
        assert as_(alice).post(f"/members/invitations/{made['id']}/send").status_code == 302
        assert Client().get(link()).status_code == 200
        third = link()
    path = f"/members/invitations/{made['id']}/revoke"
    assert "nora@example.com" in as_(alice).get(path).content.decode()
    assert Client().get(third).status_code == 200
    assert as_(alice).post(path).status_code == 302
    assert Client().get(third).status_code == 404
    assert Client().post(third, NEW).status_code == 404
    assert api.post(f"invitations/{made['id']}/send").json()["code"] == "not_open"
    assert api.delete(f"invitations/{made['id']}").status_code == 204
    assert api.get("invitations").json()["results"] == []
    invite(alice)  # the address is free again
    assert not User.objects.filter(email="nora@example.com").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "short one", "again": "short one"}, "too short"),
        ({"password": "password1234", "again": "password1234"}, "too common"),
        ({"password": "nora@example.com", "again": "nora@example.com"}, "too similar"),
        ({"again": "eleven small boots"}, "not the same"),
        ({"first_name": ""}, "required"),
        ({"first_name": "a\0b"}, "Null characters"),
        ({"first_name": "x" * 151}, "at most 150"),
    ],
)
def test_a_name_or_password_that_will_not_do_makes_no_account(
    alice: User, changed: dict[str, str], words: str
) -> None:
    invite(alice)
    answer = Client().post(link(), NEW | changed)
    assert (answer.status_code, words in answer.content.decode()) == (422, True)
    assert not User.objects.filter(email="nora@example.com").exists()
    assert Client().get(link()).status_code == 200


@pytest.mark.once
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "no address"}, "email"),
        ({"email": "a@example.com\nBcc: all@example.com"}, "email"),
        ({"email": ["a@example.com"]}, "email"),
        ({"email": "nora@example.com", "role": "king"}, "role"),
        ({"email": "mia@example.com"}, "email"),
        ({"email": "MIA@example.com"}, "email"),
        ({"email": "asked@example.com"}, "email"),
        ({"email": "nora@example.com", "sites": [{"site": "{pier}", "role": "viewer"}]}, "sites"),
        ({"email": "nora@example.com", "sites": [{"site": "{hall}", "role": "king"}]}, "sites"),
        ({"email": "nora@example.com", "token": "x"}, "token"),
    ],
)
def test_an_invitation_that_will_not_do_is_refused(
    alice: User, mia: User, hall: Site, elsewhere: Organization, body: Any, field: str
) -> None:
    invite(alice, "asked@example.com")
    pier = factories.site(elsewhere, "Pier")
    for one in body.get("sites", ()):
        one["site"] = one["site"].format(pier=pier.public_id, hall=hall.public_id)
    answer = API(alice).post("invitations", body)
    assert answer.status_code == 422
    assert any(name.startswith(field) for name in answer.json()["errors"])
    if set(body) <= {"email", "role"} and body.get("email") != ["a@example.com"]:
        page = as_(alice).post("/members/invitations/add", {"role": "member"} | body)
        assert page.status_code == 422
        assert "Nobody was invited." in page.content.decode()
    assert len(mail.outbox) == 1


@pytest.mark.once
def test_names_add_nothing_to_a_mail(alice: User, works: Organization) -> None:
    User.objects.filter(pk=alice.pk).update(
        first_name="Alice\r\nBcc: all@example.com", last_name=""
    )
    Organization.objects.filter(pk=works.pk).update(name="<b>Works</b>\nTo: you@example.com")
    invite(alice)
    (letter,) = mail.outbox
    sent = letter.message()
    assert (sent["To"], sent["Bcc"], letter.recipients()) == (
        "nora@example.com",
        None,
        ["nora@example.com"],
    )
    assert "\n" not in letter.subject
    assert "<b>Works</b>" not in html_of(letter)
    assert "\nBcc" not in str(letter.body)


@pytest.mark.once
def test_a_mail_that_is_not_taken_is_sent_again(alice: User, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    made = invite(alice)
    assert made["sent_at"] is None
    assert API(alice).post(f"invitations/{made['id']}/send").status_code == 503
    page = as_(alice).post(f"/members/invitations/{made['id']}/send", follow=True)
    assert "could not be sent" in page.content.decode()
    assert "The mail was not sent" in page.content.decode()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert API(alice).post(f"invitations/{made['id']}/send").json()["sent_at"] is not None
    assert Client().get(link()).status_code == 200


@pytest.mark.once
@pytest.mark.parametrize("token", ["x", "ym_invitation_", "%00", "a" * 5000])
def test_what_is_no_link_works_like_one_that_is_over(db: None, token: str) -> None:
    assert Client().get(f"/join/{token}").status_code == 404


@pytest.mark.once
def test_invitations_are_seen_and_ended_by_administrators_of_the_organization(
    cast: dict[str, User],
) -> None:
    made = invite(cast["alice"])
    for name, status in (("manuel", 404), ("mia", 404), ("oscar", 404)):
        api = API(cast[name])
        assert api.get("invitations").json()["results"] == []
        assert api.get(f"invitations/{made['id']}").status_code == status
        assert api.delete(f"invitations/{made['id']}").status_code == status
    assert as_(cast["oscar"]).get(f"/members/invitations/{made['id']}/revoke").status_code == 404
    assert "nora" not in as_(cast["oscar"]).get("/members/invitations").content.decode()
    admin = as_(cast["alice"])
    pk = Invitation.objects.get().pk
    assert "nora@example.com" in admin.get("/admin/sites/invitation/").content.decode()
    assert "token_hash" not in admin.get(f"/admin/sites/invitation/{pk}/change/").content.decode()
    assert admin.post(f"/admin/sites/invitation/{pk}/revoke/").status_code == 302
    assert Client().get(link()).status_code == 404


@pytest.mark.once
def test_lists_cost_the_same_with_more_invitations(
    alice: User, hall: Site, django_assert_num_queries: Any
) -> None:
    client, api = as_(alice), API(alice)
    for names in ("a", "bc"):
        for name in names:
            sites = [{"site": str(hall.public_id), "role": "viewer"}]
            invite(alice, f"{name}@example.com", sites=sites)
        with django_assert_num_queries(9):
            assert client.get("/members/invitations").status_code == 200
        with django_assert_num_queries(7):
            assert api.get("invitations").status_code == 200


@pytest.mark.parametrize("leaves", ["removed", "demoted", "closed"])
def test_a_link_works_only_while_its_sender_may_invite(
    alice: User, works: Organization, leaves: str
) -> None:
    """Else who leaves would have left a door open."""
    second = factories.member(works, "second", "administrator")
    invite(second, role="administrator")
    mine = Membership.objects.get(user=second)
    if leaves == "removed":
        remove_member(mine)
    elif leaves == "demoted":
        set_member_role(mine, "manager")
    else:
        User.objects.filter(pk=second.pk).update(is_active=False)
    assert Client().post(link(), NEW).status_code == 404
    assert not belongs("nora@example.com", works)


def test_who_was_removed_does_not_come_back_by_an_old_link(
    alice: User, works: Organization, mia: User
) -> None:
    remove_member(Membership.objects.get(user=mia))
    invite(alice, mia.email, role="manager")
    old = link()
    add_member(works, mia, "member")
    remove_member(Membership.objects.get(user=mia))
    assert as_(mia).post(old).status_code == 404
    assert not belongs(mia.email, works)


@pytest.mark.parametrize(
    "email", ["İ" * 60 + "@example.org", "nöra@example.com", "nora@exämple.com"]
)
def test_an_address_that_no_mail_reaches_is_refused(alice: User, email: str) -> None:
    answer = API(alice).post("invitations", {"email": email, "role": "member"})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["email"])
    assert Invitation.objects.count() == 0
