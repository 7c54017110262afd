"""Teams at their doors: what a team is given its people have, in one organization alone."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from agents.models import AgentPool
from agents.permissions import pool_policy
from sites import teams
from sites.access import roles_of, roles_on, set_role
from sites.admin.records import changes_of
from sites.members import remove_member
from sites.models import Event, Membership, Organization, Site, Target, Team, User
from sites.permissions import LogEntry, log_policy
from sites.problems import Refused
from tests import factories
from tests.pages import as_
from tests.people import API


def of(user: User) -> Membership:
    return Membership.objects.select_related("organization", "user").get(user=user)


def sees(user: User) -> list[str]:
    """The sites that a person sees, asked anew."""
    answer = API(User.objects.get(pk=user.pk)).get("sites")
    return [row["name"] for row in answer.json()["results"]]


def roles_page(site: Site) -> str:
    return reverse("admin:sites_site_people_and_roles", args=[site.pk])


@pytest.fixture
def shift(works: Organization, mia: User) -> Team:
    team = teams.add_team(works, "Night shift")
    teams.add_to_team(team, of(mia))
    return team


def test_a_team_gets_people_and_roles_over_rest(
    alice: User, mia: User, works: Organization, hall: Site, press: Target
) -> None:
    api = API(alice)
    made = api.post("teams", {"name": "Night shift"}).json()
    address, member = f"teams/{made['id']}", f"teams/{made['id']}/members/{of(mia).public_id}"
    assert (made["members"], made["roles"]) == ([], [])
    before = Event.objects.filter(subject_id=mia.public_id).count()
    assert api.request("PUT", member).json()["members"][0]["person"]["name"] == "Mia"
    site = {"kind": "site", "id": str(hall.public_id)}
    answer = api.request("PUT", f"{address}/roles", site | {"role": "editor"})
    assert answer.json()["roles"] == [site | {"name": hall.name, "role": "editor"}]
    assert sees(mia) == [hall.name]
    assert API(mia).patch(f"targets/{press.public_id}", {"name": "Press"}).status_code == 200
    assert Event.objects.filter(subject_id=mia.public_id).count() == before + 2
    assert [row["people"] for row in api.get("teams").json()["results"]] == [1]
    listed = api.get("members", team=made["id"]).json()["results"]
    assert [(row["person"]["name"], row["teams"][0]["name"]) for row in listed] == [
        ("Mia", "Night shift")
    ]
    assert api.request("DELETE", member).json()["members"] == []
    assert sees(mia) == []
    api.request("PUT", member)
    assert api.request("PUT", f"{address}/roles", site | {"role": None}).json()["roles"] == []
    assert sees(mia) == []
    assert api.patch(address, {"name": "Day shift"}).json()["name"] == "Day shift"
    assert api.delete(address).status_code == 204
    assert not Team.objects.exists()
    assert not Group.objects.exists()
    assert api.get(address).status_code == 404


def test_a_team_chooses_a_restricted_pool(
    works: Organization, mia: User, alice: User, shift: Team
) -> None:
    pool = AgentPool.objects.create(organization=works, name="Presses", restricted=True)
    body = {"kind": "pool", "id": str(pool.public_id), "role": "editor"}
    assert not pool_policy.allows(mia, "choose", pool)
    api, address = API(alice), f"teams/{shift.public_id}/roles"
    assert api.request("PUT", address, body).status_code == 200
    assert pool_policy.allows(User.objects.get(pk=mia.pk), "choose", pool)
    refused = api.request("PUT", address, body | {"role": "owner"})
    assert (refused.status_code, list(refused.json()["errors"])) == (422, ["role"])


@pytest.mark.once
def test_nothing_of_a_team_is_seen_or_given_in_another_organization(
    alice: User, oscar: User, mia: User, shift: Team, elsewhere: Organization
) -> None:
    pier = factories.site(elsewhere, "Pier")
    path = f"teams/{shift.public_id}"
    theirs = API(oscar)
    assert theirs.get("teams").json()["results"] == []
    for method, address in (
        ("GET", path),
        ("DELETE", path),
        ("PUT", f"{path}/members/{of(oscar).public_id}"),
        ("PUT", f"{path}/roles"),
    ):
        assert theirs.request(method, address).status_code == 404
    assert theirs.get("members", team=str(shift.public_id)).status_code == 422
    for address in (f"/members/{path}", f"/members/{path}/delete"):
        assert as_(oscar).get(address).status_code == 404
    assert "Night shift" not in as_(oscar).get("/members/teams").content.decode()
    # Nor do the others reach into theirs.
    api = API(alice)
    assert api.request("PUT", f"{path}/members/{of(oscar).public_id}").status_code == 404
    body = {"kind": "site", "id": str(pier.public_id), "role": "viewer"}
    assert api.request("PUT", f"{path}/roles", body).status_code == 422
    with pytest.raises(Refused, match="given nothing in Harbour Plant"):
        set_role(shift.group, "viewer", on=pier)
    with pytest.raises(Refused, match="has members of North Works alone"):
        teams.add_to_team(shift, of(oscar))
    # Somebody of both is in the team as a member of the one.
    Membership.objects.create(organization=elsewhere, user=mia, role="member")
    found = API(oscar).get("members", search="mia").json()["results"]
    assert [row["teams"] for row in found] == [[]]
    page = as_(oscar).get("/members").content.decode()
    assert "Mia" in page
    assert "Night shift" not in page
    admin = as_(oscar).get(roles_page(pier)).content.decode()
    assert "Oscar" in admin
    assert "Night shift" not in admin


@pytest.mark.once
def test_who_leaves_the_organization_leaves_its_teams(
    alice: User, mia: User, shift: Team, hall: Site, works: Organization
) -> None:
    set_role(shift.group, "viewer", on=hall)
    assert sees(mia) == [hall.name]
    remove_member(of(mia))
    Membership.objects.create(organization=works, user=mia, role="member")
    assert sees(mia) == []


@pytest.mark.once
def test_the_pages_do_the_same(
    alice: User, mia: User, vera: User, works: Organization, hall: Site
) -> None:
    client = as_(alice)
    assert client.post("/members/teams", {"name": ""}).status_code == 422
    at = client.post("/members/teams", {"name": "Night shift"}).headers["Location"]
    assert client.post("/members/teams", {"name": "Night shift"}).status_code == 422
    for user in (mia, vera):
        client.post(f"{at}/members", {"member": str(of(user).public_id)})
    assert client.post(f"{at}/members", {"member": str(uuid4())}).status_code == 422
    place = f"site:{hall.public_id}"
    assert client.post(f"{at}/roles", {"place": place, "role": "king"}).status_code == 422
    assert client.post(f"{at}/roles", {"place": "site:x", "role": "viewer"}).status_code == 422
    assert client.post(f"{at}/roles", {"place": place, "role": "viewer"}).status_code == 302
    page = client.get(at).content.decode()
    assert all(words in page for words in ("Mia", "Vera", "Press hall", "Viewer"))
    assert "Night shift" in client.get(f"/members/{of(mia).public_id}").content.decode()
    assert "Night shift" in client.get("/members").content.decode()
    assert client.post(f"{at}/members/{of(vera).public_id}/remove").status_code == 302
    assert client.post(at, {"name": "Day shift"}).status_code == 302
    team = Team.objects.get()
    assert (team.name, teams.people_of(team)) == ("Day shift", [mia])
    assert "Day shift" in client.get(roles_page(hall)).content.decode()
    asked = client.get(f"{at}/delete").content.decode()
    assert "Day shift" in asked
    assert "Press hall" in asked
    assert client.post(f"{at}/delete").headers["Location"] == "/members/teams"
    assert sees(mia) == []
    assert roles_of(mia, works) == []


@pytest.mark.once
def test_the_admin_gives_a_team_a_role_and_ends_teams(
    alice: User, shift: Team, hall: Site, mia: User
) -> None:
    """A team is offered on the page of a place of its organization alone, by its own name."""
    client, path = as_(alice), roles_page(hall)
    assert "Night shift" in client.get(path).content.decode()
    assert client.post(path, {"group": shift.group_id, "role": "viewer"}).status_code == 302
    assert sees(mia) == [hall.name]
    pk = shift.pk
    change = f"/admin/sites/team/{pk}/change/"
    assert "Mia" in client.get(change).content.decode()
    assert client.post(change, {"name": "Day shift"}).status_code == 302
    assert Team.objects.get().name == "Day shift"
    assert client.post(f"/admin/sites/team/{pk}/delete/", {"post": "yes"}).status_code == 302
    assert sees(mia) == []
    made = {"name": "Weekend", "organization": shift.organization_id}
    assert client.post("/admin/sites/team/add/", made).status_code == 302
    assert Team.objects.get().group.name.startswith("Weekend · North Works")


@pytest.mark.once
def test_lists_cost_the_same_with_more_teams(
    alice: User, works: Organization, django_assert_num_queries: Any
) -> None:
    client, api = as_(alice), API(alice)
    for names in ("a", "bc"):
        for name in names:
            teams.add_to_team(teams.add_team(works, name), of(alice))
        with django_assert_num_queries(7):
            assert client.get("/members/teams").status_code == 200
        with django_assert_num_queries(5):
            assert api.get("teams").status_code == 200


def changes_read(user: User) -> list[str]:
    """What an administrator reads of each change in the audit log, the newest first."""
    entries = log_policy.rows(user, "view", LogEntry.objects.order_by("-pk"))
    return [
        f"{entry.actor} · {entry.object_repr} · {what}: {before} → {after}"
        for entry in entries
        for what, before, after in changes_of(entry)
    ]


@pytest.mark.once
def test_who_was_given_what_stands_in_the_audit_log_also_of_a_team_that_is_gone(
    alice: User, oscar: User, mia: User, hall: Site, works: Organization
) -> None:
    client = as_(alice)
    at = client.post("/members/teams", {"name": "Night shift"}).headers["Location"]
    client.post(f"{at}/members", {"member": str(of(mia).public_id)})
    client.post(f"{at}/roles", {"place": f"site:{hall.public_id}", "role": "viewer"})
    for role in ("editor", "editor", "", ""):
        client.post(roles_page(hall), {"user": mia.pk, "role": role})
    client.post(f"{at}/members/{of(mia).public_id}/remove")
    client.post(f"{at}/delete")
    read = changes_read(User.objects.get(pk=alice.pk))
    for line in (
        "Alice · Night shift · membership of Mia (mia): no → yes",
        "Alice · Press hall · role of Night shift: – → viewer",
        "Alice · Press hall · role of Mia (mia): – → editor",
        "Alice · Press hall · role of Mia (mia): editor → –",
        "Alice · Night shift · membership of Mia (mia): yes → no",
        "Alice · Night shift · name: Night shift → –",
    ):
        assert read.count(line) == 1, read
    assert changes_read(oscar) == []


@pytest.mark.once
def test_what_is_done_to_a_team_that_is_gone_is_refused(
    shift: Team, alice: User, mia: User, hall: Site
) -> None:
    stale = Team.objects.select_related("group").get()
    teams.delete_team(shift)
    for act in (
        lambda: teams.rename_team(stale, "Day shift"),
        lambda: teams.add_to_team(stale, of(alice)),
        lambda: teams.take_from_team(stale, of(mia)),
        lambda: teams.delete_team(stale),
        lambda: set_role(stale.group, "viewer", on=hall),
    ):
        with pytest.raises(Refused, match="deleted just now"):
            act()


@pytest.mark.once
def test_a_teams_group_is_the_teams_alone(shift: Team, root: User) -> None:
    """Deleted by itself, it would take the team's roles and tell nobody."""
    client = as_(root)
    group = f"/admin/auth/group/{shift.group_id}"
    assert client.get(f"{group}/change/").status_code == 200
    assert client.post(f"{group}/change/", {"name": "Mine"}).status_code == 403
    assert client.post(f"{group}/delete/", {"post": "yes"}).status_code == 403
    assert Group.objects.get(pk=shift.group_id).team == shift


@pytest.mark.once
def test_superusers_alone_give_a_group_that_is_no_team_a_role(
    alice: User, root: User, hall: Site, mia: User
) -> None:
    group = Group.objects.create(name="Everywhere")
    mia.groups.add(group)
    path = roles_page(hall)
    set_role(group, "viewer", on=hall)
    refused = as_(alice).post(path, {"group": group.pk, "role": "owner"})
    assert "Superusers give Everywhere roles" in refused.content.decode()
    assert [role for _, role in roles_on(hall)] == ["viewer"]
    assert as_(alice).post(path, {"group": group.pk, "role": ""}).status_code == 302
    assert roles_on(hall) == []


@pytest.mark.once
def test_nobody_is_given_a_role_where_they_are_no_member(oscar: User, hall: Site) -> None:
    with pytest.raises(Refused, match="no member of North Works"):
        set_role(oscar, "viewer", on=hall)
    assert roles_on(hall) == []


@pytest.mark.once
def test_the_form_of_an_account_leaves_teams_alone(shift: Team, mia: User, root: User) -> None:
    """Who is in a team is the rule's: it is given to members alone."""
    everywhere = Group.objects.create(name="Everywhere")
    page = f"/admin/sites/user/{mia.pk}/change/"
    client = as_(root)
    shown = client.get(page).content.decode()
    assert shift.group.name not in shown
    data = {"username": "mia", "email": mia.email, "is_active": "on", "groups": [everywhere.pk]}
    assert client.post(page, data).status_code == 302
    assert set(mia.groups.all()) == {everywhere, shift.group}
    assert client.post(page, data | {"groups": [shift.group_id]}).status_code == 200
    assert "root · mia · membership of group Everywhere: no → yes" in changes_read(root)
