"""The portal's page about oneself: the profile and the access tokens of a person."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from sites import access_tokens, members
from sites.models import AccessToken, Organization, User
from tests import factories
from tests.pages import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def html(client: Client, path: str = "/profile") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return str(answer.content.decode())


def carrying(token: str) -> int:
    """Ask the API who the token is."""
    headers = {"Authorization": f"Bearer {token}"}
    return int(Client().get("/api/v1/me", headers=headers).status_code)


def test_a_token_is_shown_once_and_never_again(mia: User) -> None:
    client = as_(mia)
    answer = client.post("/profile", {"name": "nightly export", "scope": "full", "lasts": "30"})
    shown = re.search(r"<code>(\S+)</code>", answer.content.decode())
    assert shown
    assert "no-store" in answer.headers["Cache-Control"]
    token = shown[1]
    assert carrying(token) == 200
    row = AccessToken.objects.get()
    assert row.expires_at is not None
    assert timedelta(29) < row.expires_at - timezone.now() <= timedelta(30)
    assert "nightly export" in html(client)
    assert token not in html(client)
    assert token not in str(dict(client.session))
    assert "ago" in html(client)  # it was used above


def test_a_revoked_token_opens_nothing_and_leaves_the_list(mia: User) -> None:
    row, token = access_tokens.issue(mia, name="old laptop")
    client, path = as_(mia), f"/profile/tokens/{row.public_id}/revoke"
    assert "You are revoking" in html(client, path)
    assert carrying(token) == 200  # asking alone ends nothing
    assert client.post(path).headers["Location"] == "/profile"
    assert carrying(token) == 401
    assert "The token “old laptop” is revoked." in html(client)
    assert "old laptop" not in html(client)
    assert client.post(path).status_code == 404


def test_tokens_of_others_are_not_there_even_for_administrators(
    mia: User, alice: User, oscar: User
) -> None:
    row, token = access_tokens.issue(mia, name="mine alone")
    for user in (alice, oscar, factories.superuser("root")):
        client = as_(user)
        assert "mine alone" not in html(client)
        for ask in (client.get, client.post):
            assert ask(f"/profile/tokens/{row.public_id}/revoke").status_code == 404
            assert ask(f"/profile/tokens/{uuid.uuid4()}/revoke").status_code == 404
    assert carrying(token) == 200


def test_a_token_without_an_end_is_said_to_end_when_revoked(mia: User) -> None:
    client = as_(mia)
    client.post("/profile", {"name": "press", "scope": "read", "lasts": "never"})
    assert AccessToken.objects.get().expires_at is None
    assert "when revoked" in html(client)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "scope": "full", "lasts": "30"},
        {"name": "x" * 121, "scope": "full", "lasts": "30"},
        {"name": "a\0b", "scope": "full", "lasts": "30"},
        {"name": "x", "scope": "full", "lasts": "100000"},
        {"name": "x", "scope": "everything", "lasts": "30"},
        {"name": "x", "lasts": "30"},
        {},
    ],
)
def test_a_form_that_is_not_valid_makes_no_token(body: dict[str, str], mia: User) -> None:
    answer = as_(mia).post("/profile", body)
    assert answer.status_code == 422
    assert "No token was made." in answer.content.decode()
    assert not AccessToken.objects.exists()


def test_more_tokens_than_one_person_may_have_are_refused(
    mia: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_tokens, "MOST", 1)
    access_tokens.issue(mia, name="first")
    answer = as_(mia).post("/profile", {"name": "second", "scope": "full", "lasts": "30"})
    assert answer.status_code == 422
    assert "revoke one first" in answer.content.decode()
    assert AccessToken.objects.count() == 1


def test_the_profile_is_for_whoever_is_logged_in(mia: User, works: Organization) -> None:
    for path in ("/profile", f"/profile/tokens/{uuid.uuid4()}/revoke"):
        answer = Client().get(path)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/accounts/login/")
    page = html(as_(mia))
    assert works.name in page
    assert "Member" in page
    assert 'href="/accounts/password/change/"' in page
    assert 'href="/profile"' in html(as_(mia), "/jobs")  # the account menu
    stranger = User.objects.create_user("stranger", password=factories.PASSWORD)
    assert "None yet" in html(as_(stranger))


def test_the_profile_takes_as_many_queries_for_three_tokens_as_for_one(
    mia: User, django_assert_max_num_queries: object
) -> None:
    client = as_(mia)
    for number in (1, 2):
        for name in ("a", "b")[:number]:
            access_tokens.issue(mia, name=name)
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            assert client.get("/profile").status_code == 200


def test_a_superuser_begins_with_the_organization_that_is_their_own(works: Organization) -> None:
    factories.organization("Another one")
    root = factories.superuser("root")
    assert "<b>Another one</b>" in html(as_(root))
    members.add_member(works, root, "administrator")
    assert "<b>Another one</b>" not in html(as_(root))
    assert f"<b>{works.name}</b>" in html(as_(root))


@pytest.mark.parametrize("sent", ["", "garbage", "\0", "0" * 32])
def test_switching_to_what_is_no_organization_is_not_found(mia: User, sent: str) -> None:
    assert as_(mia).post("/organization", {"organization": sent}).status_code == 404


def test_an_icon_is_there_where_browsers_look_without_being_told(db: None) -> None:
    answer = Client().get("/favicon.ico")
    assert answer.status_code == 302
    assert re.search(r"/logo(\.\w+)?\.svg$", answer.headers["Location"])
    assert 'rel="icon"' in Client().get("/api/v1/docs").content.decode()
