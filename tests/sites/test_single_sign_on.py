"""Log-in through an OpenID Connect provider, a real one on loopback: who comes in, and as whom."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.test import Client

from sites import invitations
from sites.access import roles_of
from sites.models import Membership, Organization, Site, User
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.once]

KEY = "a key of the provider that nobody has to check on a direct connection"


class Provider(HTTPServer):
    """Says of everyone who comes what `claims` holds."""

    claims: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output clean."""

    def answer(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path.endswith("openid-configuration"):
            names = {"authorization_endpoint": "auth", "token_endpoint": "token"}
            names |= {"userinfo_endpoint": "userinfo", "jwks_uri": "keys"}
            found = {name: f"{self.server.url}/{path}" for name, path in names.items()}
            self.answer(found | {"issuer": self.server.url})
        else:
            self.answer(self.server.claims)

    def do_POST(self) -> None:
        sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert sent["code"] == ["a-code"]
        assert sent["code_verifier"]
        now = int(time.time())
        claims = {"iss": self.server.url, "aud": "yard", "iat": now, "exp": now + 60}
        token = jwt.encode(claims | self.server.claims, KEY, algorithm="HS256")
        self.answer({"access_token": "t", "token_type": "Bearer", "id_token": token})


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    server = Provider(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings.OIDC_URL, settings.OIDC_NAME = server.url, "Works ID"
    app = {"provider_id": "sso", "name": "Works ID", "client_id": "yard", "secret": "s"}
    app["settings"] = {"server_url": server.url}  # type: ignore[assignment]
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}
    }
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def come(
    provider: Provider,
    *,
    state: str = "",
    client: Client | None = None,
    query: dict[str, str] | None = None,
    **claims: Any,
) -> tuple[Client, Any]:
    """Go to the provider and come back as somebody; gives the browser and the last answer."""
    provider.claims = {"sub": "4711", "email_verified": True, "given_name": "Nora"} | claims
    client = client or Client()
    sent = client.get("/accounts/oidc/sso/login/", {"next": "/profile"} | (query or {}))
    there = urlsplit(sent.headers["Location"])
    asked = parse_qs(there.query)
    assert f"{there.scheme}://{there.netloc}{there.path}" == f"{provider.url}/auth"
    assert asked["redirect_uri"] == ["http://testserver/accounts/oidc/sso/login/callback/"]
    assert asked["code_challenge_method"] == ["S256"]
    back = {"code": "a-code", "state": state or asked["state"][0]}
    return client, client.get("/accounts/oidc/sso/login/callback/", back)


def test_the_button_is_there_where_a_provider_is(provider: Provider, settings: Any) -> None:
    page = Client().get("/accounts/login/?next=/jobs").content.decode()
    assert 'href="/accounts/oidc/sso/login/?next=/jobs"' in page
    assert "Log in with Works ID" in page
    settings.OIDC_URL, settings.SOCIALACCOUNT_PROVIDERS = "", {"openid_connect": {"APPS": []}}
    assert "Works ID" not in Client().get("/accounts/login/").content.decode()
    assert Client().get("/accounts/oidc/sso/login/").status_code == 404


def test_who_has_an_account_comes_in_with_it(provider: Provider, mia: User) -> None:
    client, answer = come(provider, email="Mia@example.com")
    assert answer.headers["Location"] == "/profile"
    assert "Mia" in client.get("/profile").content.decode()
    assert SocialAccount.objects.get().user == mia
    # From then on by the provider's own name of them, whatever their address there.
    client, _ = come(provider, email="mia@elsewhere.example", email_verified=False)
    assert "mia@example.com" in client.get("/profile").content.decode()
    User.objects.filter(pk=mia.pk).update(is_active=False)
    client, answer = come(provider, email="mia@example.com")
    assert client.get("/profile").status_code == 302


def test_it_takes_nobody_their_password_nor_their_other_log_ins(
    provider: Provider, mia: User
) -> None:
    other = Client()
    asked = {"login": mia.username, "password": factories.PASSWORD}
    assert other.post("/accounts/login/", asked).status_code == 302
    come(provider, email="mia@example.com")
    assert other.get("/profile").status_code == 200
    assert Client().post("/accounts/login/", asked).status_code == 302


def test_who_was_invited_gets_an_account(
    provider: Provider, alice: User, works: Organization, hall: Site
) -> None:
    invitations.invite(
        works, email="nora@example.com", role="manager", by=alice, site_roles=[(hall, "editor")]
    )
    client, answer = come(provider, email="Nora@Example.com", family_name="North")
    assert answer.headers["Location"] == "/profile"
    user = User.objects.get(email="nora@example.com")
    assert (str(user), user.username) == ("Nora North", "nora@example.com")
    assert not user.has_usable_password()
    assert Membership.objects.get(user=user).role == "manager"
    assert roles_of(user, works) == [("site", hall, "editor")]
    assert client.get("/accounts/password/change/").headers["Location"].endswith("/password/set/")
    assert client.get("/accounts/password/set/").status_code == 200
    assert not invitations.waiting(works).exists()


def test_whoever_opens_a_link_may_come_by_the_provider(
    provider: Provider, alice: User, works: Organization
) -> None:
    invitations.send(invitations.invite(works, email="nora@example.com", role="member", by=alice))
    path = "/join/" + str(mail.outbox[-1].body).partition("/join/")[2].split()[0]
    client, answer = come(provider, email="nora@example.com", query={"next": path})
    assert answer.headers["Location"] == path
    assert client.get(path).headers["Location"] == "/"
    assert Client().get(path).status_code == 404


def test_a_second_factor_is_asked_for_all_the_same(provider: Provider, mia: User) -> None:
    TOTP.activate(mia, "ABCDEFGHIJKLMNOP")
    client, answer = come(provider, email="mia@example.com")
    assert answer.headers["Location"].startswith("/accounts/second-factor/authenticate/")
    assert client.get("/profile").status_code == 302


def test_nobody_is_led_to_add_another_log_in_to_their_account(
    provider: Provider, mia: User
) -> None:
    client = Client()
    client.force_login(mia)
    _, answer = come(provider, client=client, query={"process": "connect"}, email="eve@example.com")
    assert answer.status_code == 403
    assert not SocialAccount.objects.exists()


def test_nobody_else_comes_in(
    provider: Provider, alice: User, works: Organization, settings: Any
) -> None:
    people = User.objects.count()
    _, stranger = come(provider, email="eve@example.com")
    assert "by invitation" in stranger.content.decode()
    ended = invitations.invite(works, email="eve@example.com", role="member", by=alice)
    invitations.revoke(ended)
    come(provider, email="eve@example.com")
    # An address that anyone may write there opens nobody's account, and takes no invitation.
    invitations.invite(works, email="nora@example.com", role="member", by=alice)
    for email in ("alice@example.com", "nora@example.com", ""):
        client, unsure = come(provider, email=email, email_verified=False)
        assert unsure.status_code == 403
        assert client.get("/profile").status_code == 302
    client, forged = come(provider, email="alice@example.com", state="another")
    assert "That did not work" in forged.content.decode()
    assert client.get("/profile").status_code == 302
    settings.OIDC_ORGANIZATION = "No such place"
    come(provider, email="eve@example.com")
    assert User.objects.count() == people


def test_everyone_whom_the_provider_knows_joins_the_organization_that_is_set(
    provider: Provider, works: Organization, settings: Any
) -> None:
    settings.OIDC_ORGANIZATION = works.name
    _, answer = come(provider, email="eve@example.com", name="Eve Example", given_name="")
    assert answer.status_code == 302
    member = Membership.objects.get(user__email="eve@example.com")
    assert (member.organization, member.role) == (works, "member")
    assert str(member.user) == "Eve Example"
    member.delete()
    come(provider, email="eve@example.com")
    assert not Membership.objects.exists()  # who was removed is not brought back by a log-in


def test_a_name_that_is_taken_is_another_persons(
    provider: Provider, alice: User, works: Organization, settings: Any
) -> None:
    settings.OIDC_ORGANIZATION = works.name
    User.objects.filter(pk=alice.pk).update(username="eve@example.com")
    come(provider, email="eve@example.com", preferred_username="alice", name="x" * 400)
    eve = User.objects.get(email="eve@example.com")
    assert eve.pk != alice.pk
    assert eve.username.startswith("eve@example.com-")


def test_a_provider_that_is_away_is_no_error_of_the_portal(provider: Provider) -> None:
    provider.shutdown()
    provider.server_close()
    answer = Client(raise_request_exception=False).get("/accounts/oidc/sso/login/")
    assert answer.status_code == 503
    assert "Works ID did not let you in, or did not answer." in answer.content.decode()
