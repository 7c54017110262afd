"""Pools: who is in them, who may choose them, and when they can be put away."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group

from agents.catalogue import queues_of
from agents.models import AgentPool, Function
from agents.permissions import pool_policy
from jobs.models import Job
from sites import teams
from sites.access import set_role
from sites.models import Event, Organization, Site, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def changed(enrolled: Enrolled) -> int:
    """How often an agent was told that it takes other runs now."""
    about = Event.objects.filter(kind="agent.changed", subject_id=enrolled.agent.public_id)
    return about.count()


@pytest.fixture
def vault(works: Organization, agent: Enrolled) -> AgentPool:
    """A restricted pool with the agent of the hall in it."""
    pool = AgentPool.objects.create(organization=works, name="Vault", restricted=True)
    pool.agents.add(agent.agent)
    return pool


def test_a_program_makes_changes_and_archives_a_pool(
    works: Organization, agent: Enrolled, alice: User, edda: User
) -> None:
    api, own, before = API(alice), str(agent.agent.public_id), changed(agent)
    made = api.post("pools", {"name": "Heavy", "agents": [own]}).json()
    assert made["agents"] == [{"id": own, "name": "hall-agent"}]
    assert (made["restricted"], made["people"], made["archived_at"]) == (False, [], None)
    assert changed(agent) == before + 1
    path = f"pools/{made['id']}"
    kept = api.patch(path, {"restricted": True, "people": [str(edda.public_id)]}).json()
    assert kept["people"] == [{"id": str(edda.public_id), "name": "Edda"}]
    assert changed(agent) == before + 2
    pool = AgentPool.objects.get()
    assert pool_policy.allows(edda, "choose", pool)
    # She may choose it, and reads of nobody else who may.
    assert API(edda).get(path).json()["people"] == []
    assert api.patch(path, {"name": "Heavier"}).json()["agents"] == made["agents"]
    assert changed(agent) == before + 2
    assert api.patch(path, {"people": []}).json()["people"] == []
    assert not pool_policy.allows(User.objects.get(pk=edda.pk), "choose", pool)
    assert api.delete(path).status_code == 204
    assert changed(agent) == before + 3
    assert api.get("pools").json()["results"] == []
    (archived,) = api.get("pools", archived="true").json()["results"]
    assert (archived["name"], archived["agents"]) == ("Heavier", [])
    for refused in (api.delete(path), api.patch(path, {"name": "Again"})):
        assert (refused.status_code, refused.json()["code"]) == (409, "archived")
    # The name is free again.
    assert api.post("pools", {"name": "Heavier"}).status_code == 201


def test_what_a_pool_cannot_hold_is_said_by_field(
    works: Organization, elsewhere: Organization, agent: Enrolled, alice: User, oscar: User
) -> None:
    foreign = factories.enrolled(elsewhere, "foreign", by=oscar).agent
    api = API(alice)
    assert api.post("pools", {"name": "Heavy"}).status_code == 201
    both = factories.member(elsewhere, "both", "administrator")
    works.memberships.create(user=both, role="administrator")
    nobody = "00000000-0000-4000-8000-000000000000"
    named = {"organization": str(works.public_id), "name": "n"}
    for who, body, field, words in (
        (alice, {"name": "Heavy"}, "name", "exists already"),
        (alice, {"name": "n", "agents": [str(foreign.public_id)]}, "agents.0", "No such agent."),
        (alice, {"name": "n", "people": [nobody]}, "people.0", "No such user."),
        (both, named | {"agents": [str(foreign.public_id)]}, "agents", "another organization"),
        (both, named | {"people": [str(oscar.public_id)]}, "people", "is no member"),
    ):
        answer = API(who).post("pools", body)
        assert answer.status_code == 422, body
        assert words in answer.json()["errors"][field][0]
    assert [pool.name for pool in AgentPool.objects.all()] == ["Heavy"]


def test_an_administrator_makes_a_pool_for_some_on_its_page(
    works: Organization, agent: Enrolled, alice: User, edda: User, vera: User
) -> None:
    client = as_(alice)
    assert "No pool yet" in client.get("/agents/pools").content.decode()
    sent = {
        "name": "Vault", "agents": [str(agent.agent.public_id)], "restricted": "on",
        "people": [str(edda.public_id)],
    }  # fmt: skip
    assert client.post("/agents/pools/add", sent)["Location"] == "/agents/pools"
    pool = AgentPool.objects.get()
    assert [pool_policy.allows(who, "choose", pool) for who in (edda, vera)] == [True, False]
    listed = client.get("/agents/pools").content.decode()
    assert "Pool “Vault” is made." in listed
    assert re.search(r'href="/agents/[^"]+">hall-agent</a>', listed)
    assert 'data-m="2">Edda</td>' in listed
    # Others learn neither whom it is for nor how to change it.
    for who, words in ((edda, "You and others"), (vera, "Others")):
        page = as_(who).get("/agents/pools").content.decode()
        assert f'data-m="2">{words}</td>' in page
        assert "Add a pool" not in page
        assert f"/agents/pools/{pool.public_id}" not in page
    path = f"/agents/pools/{pool.public_id}"
    form = client.get(path).content.decode()
    assert len(re.findall(r"<input[^>]+ checked", form)) == 3
    refused = client.post(path, sent | {"name": ""})
    assert refused.status_code == 422
    assert "The pool was not saved." in refused.content.decode()
    assert client.post(path, {"name": "Open"}).status_code == 302
    pool.refresh_from_db()
    assert (pool.name, pool.restricted, pool.agents.count()) == ("Open", False, 0)
    assert client.post("/agents/pools/add", {"name": "Open"}).status_code == 422


def test_groups_are_named_by_superusers_and_kept_by_the_rest(
    works: Organization, vault: AgentPool, alice: User, edda: User, root: User
) -> None:
    night = Group.objects.create(name="Night shift")
    edda.groups.add(night)
    path = f"/agents/pools/{vault.public_id}"
    above = as_(root)
    above.post("/organization", {"organization": str(works.public_id)})
    assert "Night shift" not in as_(alice).get(path).content.decode()
    assert above.post(path, {"name": "Vault", "restricted": "on", "groups": [night.pk]})
    assert pool_policy.allows(User.objects.get(pk=edda.pk), "choose", vault)
    assert "Night shift" in as_(alice).get("/agents/pools").content.decode()
    # A program that names people takes no group away; the page does.
    API(alice).patch(f"pools/{vault.public_id}", {"people": []})
    assert pool_policy.allows(User.objects.get(pk=edda.pk), "choose", vault)
    as_(alice).post(path, {"name": "Vault", "restricted": "on"})
    assert not pool_policy.allows(User.objects.get(pk=edda.pk), "choose", vault)


def test_a_team_of_the_organization_is_let_choose_it(
    works: Organization, elsewhere: Organization, vault: AgentPool, alice: User, edda: User,
    root: User,
) -> None:  # fmt: skip
    night, foreign = teams.add_team(works, "Night shift"), teams.add_team(elsewhere, "Dockers")
    teams.add_to_team(night, edda.memberships.get())
    api, path = API(alice), f"pools/{vault.public_id}"
    told = api.patch(path, {"teams": [str(night.public_id)]}).json()
    assert told["teams"] == [{"id": str(night.public_id), "name": "Night shift"}]
    assert pool_policy.allows(User.objects.get(pk=edda.pk), "choose", vault)
    assert API(edda).get(path).json()["teams"] == []
    # What a body does not name stays.
    assert api.patch(path, {"people": [str(alice.public_id)]}).json()["teams"] == told["teams"]
    assert api.patch(path, {"teams": []}).json()["people"] == [
        {"id": str(alice.public_id), "name": "Alice"}
    ]
    refused = API(root).patch(path, {"teams": [str(foreign.public_id)]})
    assert "belongs to another organization" in refused.json()["errors"]["teams"][0]
    above = as_(root)
    above.post("/organization", {"organization": str(works.public_id)})
    for client in (as_(alice), above):
        page = client.get(f"/agents/{path}").content.decode()
        assert "Night shift" in page
        assert "Dockers" not in page
    sent = {"name": "Vault", "restricted": "on", "groups": [night.group.pk]}
    assert as_(alice).post(f"/agents/{path}", sent).status_code == 302
    assert pool_policy.allows(User.objects.get(pk=edda.pk), "choose", vault)


def test_a_pool_that_work_names_is_not_archived(
    press: Target, backup: Function, vault: AgentPool, agent: Enrolled, alice: User, edda: User
) -> None:
    set_role(edda, "editor", on=vault)
    job = factories.job(press, backup, owner=edda, assignment="pool", pool=vault)
    path, api = f"pools/{vault.public_id}", API(alice)
    for words in ("assigned to it", "asked for it"):
        refused = api.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
        assert words in refused.json()["detail"]
        if words == "assigned to it":
            assert f"job “{job.name}”" in refused.json()["detail"]
            run = factories.run(job, by=edda)
            Job.objects.filter(pk=job.pk).update(assignment="automatic", pool=None)
    page = as_(alice).post(f"/agents/{path}/archive", {"name": "Vault"})
    assert page.status_code == 422
    assert "The pool was not archived." in page.content.decode()
    assert API(edda).post(f"runs/{run.public_id}/cancel").status_code == 200
    assert as_(alice).post(f"/agents/{path}/archive", {"name": "vault"}).status_code == 422
    assert as_(alice).post(f"/agents/{path}/archive", {"name": "Vault"}).status_code == 302
    vault.refresh_from_db()
    assert vault.archived_at is not None
    # Nobody chooses it any more, and the run still says that it was asked for.
    place = {"target": str(press.public_id), "function": str(backup.public_id)}
    set_role(edda, "viewer", on=press.site)
    set_role(edda, "editor", on=press.site)
    chosen = API(edda).post("runs", place | {"pool": str(vault.public_id)})
    assert (chosen.status_code, [*chosen.json()["errors"]]) == (422, ["pool"])
    told = API(edda).get(f"runs/{run.public_id}").json()
    assert told["requested_pool"]["name"] == "Vault"


def test_the_agents_of_an_archived_pool_take_automatic_runs_again(
    hall: Site, job: Job, vault: AgentPool, agent: Enrolled, alice: User, edda: User
) -> None:
    run = factories.run(job, by=edda)
    assert run.queue_id not in queues_of(agent.agent)
    assert API(alice).delete(f"pools/{vault.public_id}").status_code == 204
    assert run.queue_id in queues_of(agent.agent)
