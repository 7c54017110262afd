"""Access tokens over REST: managed by whoever has logged in, never by a token."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client

from sites import access_tokens
from sites.models import AccessToken, User
from tests.people import API, logged_in

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "tokens", None),
        ("POST", "tokens", {"name": "for ever"}),
        ("GET", "tokens/{id}", None),
        ("DELETE", "tokens/{id}", None),
    ],
)
def test_a_token_manages_no_tokens(mia: User, method: str, path: str, body: object) -> None:
    """Else one that leaked would make others, and outlive its end and its being revoked."""
    row, token = access_tokens.issue(mia, name="leaked")
    address = path.format(id=row.public_id)
    answer = API(token=token).request(method, address, body)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert "log in to the portal" in answer.json()["detail"]
    assert AccessToken.objects.filter(revoked_at=None).count() == 1
    with_both = API(token=token)
    with_both.client.force_login(mia)
    assert with_both.request(method, address, body).status_code == 403
    assert API(token=token[:-1] + "x").request(method, address, body).status_code == 401
    assert API().request(method, address, body).status_code == 401
    assert API(token=token).get("me").status_code == 200


def test_who_has_logged_in_manages_their_own(mia: User, vera: User) -> None:
    api = logged_in(mia)
    made = api.post("tokens", {"name": "ci"})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    assert API(token=made.json()["token"]).get("me").json()["username"] == "mia"
    path = f"tokens/{made.json()['id']}"
    assert [row["name"] for row in api.get("tokens").json()["results"]] == ["ci"]
    assert "token" not in api.get(path).json()
    for method in ("GET", "DELETE"):
        assert logged_in(vera).request(method, path).status_code == 404
    assert logged_in(vera).get("tokens").json()["results"] == []
    assert api.delete(path).status_code == 204
    assert api.get("tokens").json()["results"] == []
    assert API(token=made.json()["token"]).get("me").status_code == 401
    assert api.get(f"tokens/{uuid.uuid4()}").status_code == 404


def test_a_page_of_another_site_makes_no_token(mia: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(mia)
    answer = browser.post("/api/v1/tokens", {"name": "x"}, content_type="application/json")
    assert answer.status_code == 403
    assert not AccessToken.objects.exists()


def test_a_list_costs_the_same_with_more_tokens(
    mia: User, django_assert_num_queries: object
) -> None:
    api = logged_in(mia)
    for names in (["one"], ["two", "three"]):
        for name in names:
            access_tokens.issue(mia, name=name)
        with django_assert_num_queries(4):  # type: ignore[operator]
            assert api.get("tokens").status_code == 200


def test_the_schema_says_that_a_log_in_is_needed(client: Client) -> None:
    paths = client.get("/api/v1/schema", {"format": "json"}).json()["paths"]
    for methods in (paths["/api/v1/tokens"], paths["/api/v1/tokens/{id}"]):
        for operation in methods.values():
            assert operation["security"] == [{"portalSession": []}]
    assert {"personalAccessToken": []} in paths["/api/v1/me"]["get"]["security"]
