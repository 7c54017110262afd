"""Members at their doors: who is listed, how roles change, what becomes of one who leaves."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.urls import reverse

from jobs.models import Job
from sites.access import set_role
from sites.models import (
    AccessToken,
    Event,
    Membership,
    Organization,
    SiteUserPermission,
    User,
)
from tests import factories
from tests.pages import as_
from tests.people import API


def of(user: User) -> Membership:
    return Membership.objects.get(user=user)


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["person"]["name"] for row in answer.json()["results"]]


def told(user: User) -> int:
    return Event.objects.filter(kind="access.changed", subject_id=user.public_id).count()


# --- lists ---------------------------------------------------------------------------------------
def test_a_list_is_narrowed_sorted_and_ones_own(cast: dict[str, User]) -> None:
    api = API(cast["alice"])
    everyone = ["Alice", "Edda", "Manuel", "Mia", "Vera"]
    assert names(api.get("members")) == everyone
    assert names(api.get("members", ordering="-name")) == everyone[::-1]
    for query, found in (
        ({"search": "ED"}, ["Edda"]),
        ({"search": "vera@example"}, ["Vera"]),
        ({"search": "%"}, []),
        ({"role": ["administrator", "manager"]}, ["Alice", "Manuel"]),
        ({"search": "e", "role": "member"}, ["Edda", "Mia", "Vera"]),
    ):
        assert names(api.get("members", **query)) == found, query
    assert api.get("members", role="king").status_code == 422
    assert names(API(cast["mia"]).get("members")) == ["Mia"]
    assert names(API(cast["oscar"]).get("members")) == ["Oscar"]
    assert names(API(cast["root"]).get("members", search="osc")) == ["Oscar"]
    first = api.get("members", page_size=2).json()
    second = api.get(first["next"].partition("testserver")[2])
    assert names(second) == ["Manuel", "Mia"]


@pytest.mark.once
def test_the_page_lists_finds_and_narrows(cast: dict[str, User], works: Organization) -> None:
    client = as_(cast["alice"])
    User.objects.filter(pk=cast["vera"].pk).update(is_active=False)

    def shown(query: str = "") -> list[str]:
        return re.findall(
            r'class="name"[^>]*>(\w+)<', client.get(f"/members{query}").content.decode()
        )

    assert shown() == ["Alice", "Edda", "Manuel", "Mia", "Vera"]
    assert shown("?search=edd") == ["Edda"]
    assert shown("?role=manager&role=administrator") == ["Alice", "Manuel"]
    assert shown("?search=nobody") == shown("?role=king") == []
    text = client.get("/members").content.decode()
    assert "cannot log in" in text
    assert "Oscar" not in text
    assert "/members" in as_(cast["alice"]).get("/").content.decode()
    assert 'href="/members"' not in as_(cast["manuel"]).get("/").content.decode()


@pytest.mark.once
def test_lists_cost_the_same_with_more_members(
    alice: User, works: Organization, django_assert_num_queries: Any
) -> None:
    client, api = as_(alice), API(alice)
    for more in ((), ("edda", "vera")):
        for name in more:
            factories.member(works, name, "member")
        with django_assert_num_queries(8):
            assert client.get("/members").status_code == 200
        with django_assert_num_queries(6):
            assert api.get("members").status_code == 200


# --- roles ---------------------------------------------------------------------------------------
def test_a_role_is_changed_announced_and_recorded(alice: User, mia: User) -> None:
    before = told(mia)
    answer = API(alice).patch(f"members/{of(mia).public_id}", {"role": "manager"})
    assert (answer.status_code, answer.json()["role"]) == (200, "manager")
    assert (of(mia).role, told(mia)) == ("manager", before + 1)
    assert as_(alice).post(f"/members/{of(mia).public_id}", {"role": "member"}).status_code == 302
    assert (of(mia).role, told(mia)) == ("member", before + 2)
    entry = apps.get_model("auditlog.LogEntry").objects.filter(content_type__model="membership")
    assert entry.latest("id").changes["role"] == ["manager", "member"]
    assert entry.latest("id").actor == alice


@pytest.mark.once
@pytest.mark.parametrize("body", [{}, {"role": "king"}, {"role": "member", "user": 1}, {"role": 1}])
def test_a_role_that_is_none_is_refused(alice: User, mia: User, body: dict[str, Any]) -> None:
    assert API(alice).patch(f"members/{of(mia).public_id}", body).status_code == 422
    page = as_(alice).post(f"/members/{of(mia).public_id}", {"role": "king"})
    assert (page.status_code, of(mia).role) == (422, "member")


@pytest.mark.once
def test_the_last_administrator_stays(alice: User, works: Organization) -> None:
    """One who cannot log in does not count, and neither does one of another organization."""
    adam = factories.member(works, "adam", "administrator")
    User.objects.filter(pk=adam.pk).update(is_active=False)
    address, client, api = f"members/{of(alice).public_id}", as_(alice), API(alice)
    for answer in (api.patch(address, {"role": "member"}), api.delete(address)):
        assert (answer.status_code, answer.json()["code"]) == (409, "last_administrator")
    for path, body in ((f"/{address}", {"role": "manager"}), (f"/{address}/remove", {})):
        answer = client.post(path, body)
        assert answer.status_code == 422
        assert "last administrator" in answer.content.decode()
    assert of(alice).role == "administrator"
    User.objects.filter(pk=adam.pk).update(is_active=True)
    assert client.post(f"/{address}", {"role": "member"}).headers["Location"] == "/"
    assert client.get("/members").status_code == 403


# --- leaving -------------------------------------------------------------------------------------
def test_who_leaves_hands_the_jobs_over(
    job: Job, edda: User, alice: User, manuel: User, mia: User, oscar: User
) -> None:
    started = factories.run(job, by=edda)
    old = factories.job(
        job.target, job.function, owner=edda, name="Old", archived_at=job.created_at
    )
    member, api = of(edda), API(alice)
    address = f"members/{member.public_id}"
    for successor, words in (
        ("", "is the owner of “Press line 1 backup”"),
        (f"?successor={member.public_id}", "another member"),
        (f"?successor={of(oscar).public_id}", "No such membership"),
        (f"?successor={uuid4()}", "No such membership"),
        (f"?successor={of(mia).public_id}", "Mia may not start job “Press line 1 backup”"),
    ):
        answer = api.delete(address + successor)
        assert answer.status_code == 422, answer.content
        assert words in answer.content.decode()
    assert Membership.objects.filter(pk=member.pk).exists()
    assert api.delete(f"{address}?successor={of(manuel).public_id}").status_code == 204
    job.refresh_from_db()
    old.refresh_from_db()
    started.refresh_from_db()
    assert (job.owner, old.owner, started.started_by) == (manuel, edda, edda)
    assert Event.objects.filter(kind="job.changed", subject_id=job.public_id).exists()
    entries = apps.get_model("auditlog.LogEntry").objects.filter(content_type__model="job")
    assert entries.latest("id").changes["owner"] == [str(edda.pk), str(manuel.pk)]
    assert api.delete(address).status_code == 404


@pytest.mark.once
def test_the_page_says_what_is_lost_and_asks_for_a_successor(
    job: Job, edda: User, alice: User, mia: User
) -> None:
    client, path = as_(alice), f"/members/{of(edda).public_id}/remove"
    text = client.get(path).content.decode()
    for said in ("Edda", "edda@example.com", "Press hall", "1 job", "Press line 1 backup"):
        assert said in text
    answer = client.post(path)
    assert (answer.status_code, Membership.objects.filter(user=edda).exists()) == (422, True)
    refused = client.post(path, {"successor": str(of(mia).public_id)})
    assert "Mia may not start job" in refused.content.decode()
    assert client.post(path, {"successor": str(of(alice).public_id)}).status_code == 302
    job.refresh_from_db()
    assert (job.owner, Membership.objects.filter(user=edda).exists()) == (alice, False)


@pytest.mark.once
def test_roles_and_tokens_end_with_the_membership(
    alice: User, vera: User, elsewhere: Organization, oscar: User
) -> None:
    """Tokens last while there is another organization for them, and reach nothing of this one."""
    Membership.objects.create(organization=elsewhere, user=vera, role="member")
    token = API(vera)
    here = Membership.objects.get(user=vera, organization=of(alice).organization)
    assert API(alice).delete(f"members/{here.public_id}").status_code == 204
    assert not SiteUserPermission.objects.filter(user=vera).exists()
    assert [row["name"] for row in token.get("organizations").json()["results"]] == [elsewhere.name]
    assert token.get("sites").json()["results"] == []
    assert as_(oscar).post(f"/members/{of(vera).public_id}/remove").status_code == 302
    assert token.get("me").status_code == 401
    assert not AccessToken.objects.filter(user=vera, revoked_at=None).exists()
    assert as_(vera).get("/").status_code == 200  # the account is still there


@pytest.mark.once
def test_a_member_is_none_of_another_organizations_business(
    alice: User, oscar: User, mia: User, hall: Any
) -> None:
    set_role(mia, "viewer", on=hall)
    for path in (f"/members/{of(mia).public_id}", f"/members/{of(mia).public_id}/remove"):
        for ask in (as_(oscar).get, as_(oscar).post):
            assert ask(path).status_code == 404
    assert as_(oscar).get(f"/members/{uuid4()}").status_code == 404
    assert "Mia" not in as_(oscar).get("/members").content.decode()
    assert of(mia).role == "member"


@pytest.mark.once
@pytest.mark.parametrize("kept", ["is_active", "is_superuser"])
def test_the_last_superuser_is_neither_closed_nor_lowered(root: User, kept: str) -> None:
    """Nor by themselves: nobody in the portal could make another."""
    sent = {"username": root.username, "email": root.email, kept: "on"}
    path = reverse("admin:sites_user_change", args=[root.pk])
    page = as_(root).post(path, sent, follow=True)
    assert "is the last superuser" in page.content.decode()
    root.refresh_from_db()
    assert root.is_active
    assert root.is_superuser
    factories.superuser("second")
    as_(root).post(path, sent)
    root.refresh_from_db()
    assert not (root.is_active and root.is_superuser)


def test_the_last_administrators_account_is_not_closed(
    root: User, alice: User, works: Organization
) -> None:
    """Nor by a superuser: nobody could let anyone in any more."""
    path = reverse("admin:sites_user_change", args=[alice.pk])
    client = as_(root)
    sent = {"username": alice.username, "first_name": "", "last_name": "", "email": alice.email}
    page = client.post(path, sent, follow=True)
    assert "is the last administrator of" in page.content.decode()
    alice.refresh_from_db()
    assert alice.is_active
    factories.member(works, "second", "administrator")
    client.post(path, sent)
    alice.refresh_from_db()
    assert not alice.is_active
