"""The admin of agents: enrolling, draining, retiring through rules; no hash is ever shown."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from agents.models import Agent, AgentPool, EnrolmentCode, PoolUserPermission
from agents.permissions import pool_policy
from jobs.states import Status
from sites import tokens
from sites.models import Organization, Site, User
from tests import factories
from tests.pages import as_

# Doors and templates: the rules behind them are tested on both databases.
pytestmark = pytest.mark.once

CODE = re.compile(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}")


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:agents_{name}", args=args)


def test_a_new_agent_shows_its_line_once(alice: User, works: Organization, hall: Site) -> None:
    client = as_(alice)
    data = {"organization": works.pk, "site": hall.pk, "name": "mill-1", "slots": 3}
    answer = client.post(url("agent_add"), data)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    [code] = CODE.findall(answer.content.decode())
    agent = Agent.objects.get(name="mill-1")
    assert (agent.site, agent.slots, agent.created_by) == (hall, 3, alice)
    row = EnrolmentCode.objects.get(agent=agent)
    assert row.code_hash == tokens.hashed(code)
    for page in (url("agent_change", agent.pk), url("agent_changelist")):
        text = client.get(page).content.decode()
        assert code not in text
        assert row.code_hash not in text
    again = client.post(url("agent_add"), data)
    assert again.status_code == 200
    assert not CODE.findall(again.content.decode())
    assert Agent.objects.filter(name="mill-1").count() == 1


def test_an_agent_is_added_to_ones_own_organization(
    alice: User, oscar: User, works: Organization, elsewhere: Organization, hall: Site
) -> None:
    data = {"organization": works.pk, "site": "", "name": "spy", "slots": 1}
    assert as_(oscar).post(url("agent_add"), data).status_code == 200
    mixed = data | {"organization": elsewhere.pk, "site": hall.pk}
    assert as_(oscar).post(url("agent_add"), mixed).status_code == 200
    assert as_(alice).post(url("agent_add"), mixed).status_code == 200
    assert not Agent.objects.filter(name="spy").exists()


def test_a_token_hash_is_on_no_page(alice: User, root: User, agent: factories.Enrolled) -> None:
    row = Agent.objects.get(pk=agent.agent.pk)
    assert row.token_hash
    for user in (alice, root):
        for page in (
            url("agent_change", row.pk),
            url("agent_changelist"),
            url("agent_history", row.pk),
        ):
            assert row.token_hash not in as_(user).get(page).content.decode()


def test_a_new_code_ends_the_one_before(alice: User, agent: factories.Enrolled) -> None:
    client, page = as_(alice), url("agent_new_code", agent.agent.pk)
    asked = client.get(page).content.decode()
    assert not CODE.findall(asked)
    assert not EnrolmentCode.objects.filter(used_at=None).exists()
    [first] = CODE.findall(client.post(page).content.decode())
    [second] = CODE.findall(client.post(page).content.decode())
    assert first != second
    left = EnrolmentCode.objects.get(used_at=None)
    assert left.code_hash == tokens.hashed(second)


def test_draining_goes_on_and_off(alice: User, agent: factories.Enrolled, job: Any) -> None:
    client, pk = as_(alice), agent.agent.pk
    factories.run(job, by=alice)
    client.post(url("agent_drain", pk))
    assert agent.api.claim() == []
    client.post(url("agent_take_again", pk))
    assert len(agent.api.claim()) == 1


def test_retiring_asks_first_and_ends_token_and_runs(
    alice: User, agent: factories.Enrolled, job: Any
) -> None:
    client, page = as_(alice), url("agent_retire", agent.agent.pk)
    run = factories.run(job, by=alice)
    agent.api.claim()
    assert "hall-agent" in client.get(page).content.decode()
    assert agent.api.post("heartbeat", {"runs": []}).status_code == 200
    assert client.post(page).status_code == 302
    assert agent.api.post("heartbeat", {"runs": []}).status_code == 401
    run.refresh_from_db()
    assert run.status == Status.FAILED
    assert "retired already" in client.post(page, follow=True).content.decode()
    change = url("agent_change", agent.agent.pk)
    assert client.post(change, {"name": "back", "slots": 1}).status_code == 403


def test_agents_are_rotated_and_retired_together(
    alice: User, works: Organization, agent: factories.Enrolled
) -> None:
    other = factories.enrolled(works, "other-agent", by=alice).agent
    client, page = as_(alice), url("agent_changelist")
    both = {"index": "0", "_selected_action": [agent.agent.pk, other.pk]}
    for action, question in (("rotate_each", "change their tokens?"), ("retire_each", "for good?")):
        asked = client.post(page, both | {"action": action}).content.decode()
        assert question in asked
        assert "hall-agent" in asked
        assert not Agent.objects.filter(retired_at__isnull=False).exists()
        told = client.post(page, both | {"action": action, "asked": "1"}, follow=True)
        assert "Done for 2 of 2." in told.content.decode()
        if action == "rotate_each":
            assert Agent.objects.filter(rotating=True).count() == 2
    assert Agent.objects.in_use().count() == 0
    told = client.post(page, both | {"action": "retire_each", "asked": "1"}, follow=True)
    assert "hall-agent: not in the state that it is in." in told.content.decode()


def test_buttons_answer_administrators_of_the_organization_alone(
    cast: dict[str, User], agent: factories.Enrolled
) -> None:
    for name in ("new_code", "drain", "take_again", "retire"):
        page = url(f"agent_{name}", agent.agent.pk)
        assert as_(cast["oscar"]).post(page).status_code == 404
        for person in ("manuel", "edda", "vera", "mia"):
            assert as_(cast[person]).post(page).status_code == 302
        assert Client(enforce_csrf_checks=True).post(page).status_code == 403
    row = Agent.objects.get(pk=agent.agent.pk)
    assert (row.draining, row.retired_at) == (False, None)


def test_saving_leaves_what_the_program_wrote(alice: User, agent: factories.Enrolled) -> None:
    before = Agent.objects.get(pk=agent.agent.pk)
    data = {"name": "renamed", "slots": 5, "token_hash": "x", "version": "x", "site": ""}
    data |= {"codes-TOTAL_FORMS": 0, "codes-INITIAL_FORMS": 0}
    answer = as_(alice).post(url("agent_change", before.pk), data)
    assert answer.status_code == 302, answer.context["adminform"].errors
    after = Agent.objects.get(pk=before.pk)
    assert (after.name, after.slots) == ("renamed", 5)
    assert (after.token_hash, after.version, after.site) == (
        before.token_hash,
        before.version,
        before.site,
    )


def test_a_pool_holds_agents_of_its_own_organization(
    alice: User,
    oscar: User,
    works: Organization,
    elsewhere: Organization,
    agent: factories.Enrolled,
) -> None:
    foreign = factories.enrolled(elsewhere, "foreign-agent", by=oscar).agent
    data = {"organization": works.pk, "name": "Heavy", "restricted": "on"}
    answer = as_(alice).post(url("agentpool_add"), data | {"agents": [foreign.pk]})
    assert answer.status_code == 200
    assert (
        as_(alice).post(url("agentpool_add"), data | {"agents": [agent.agent.pk]}).status_code
        == 302
    )
    pool = AgentPool.objects.get(name="Heavy")
    assert [row.pk for row in pool.agents.all()] == [agent.agent.pk]
    both = User.objects.get(pk=alice.pk)
    both.memberships.create(organization=elsewhere, role="administrator")
    answer = as_(both).post(
        url("agentpool_change", pool.pk), data | {"agents": [agent.agent.pk, foreign.pk]}
    )
    assert "another organization" in answer.content.decode()
    assert pool.agents.count() == 1


def test_who_may_choose_a_pool_is_given_on_its_page(
    alice: User, mia: User, works: Organization
) -> None:
    pool = AgentPool.objects.create(organization=works, name="Heavy", restricted=True)
    page = url("agentpool_people_and_roles", pool.pk)
    assert as_(alice).post(page, {"user": mia.pk, "role": "owner"}).status_code == 200
    assert not PoolUserPermission.objects.exists()
    assert as_(alice).post(page, {"user": mia.pk, "role": "editor"}).status_code == 302
    assert pool_policy.allows(User.objects.get(pk=mia.pk), "choose", pool)


def test_a_pool_is_archived_once_no_job_names_it(
    alice: User, works: Organization, agent: factories.Enrolled, job: Any
) -> None:
    pool = AgentPool.objects.create(organization=works, name="Heavy")
    pool.agents.add(agent.agent)
    type(job).objects.filter(pk=job.pk).update(assignment="pool", pool=pool)
    assert as_(alice).post(url("agentpool_delete", pool.pk), {"post": "yes"}).status_code == 403
    page = url("agentpool_archive", pool.pk)
    assert "Archive pool Heavy?" in as_(alice).get(page).content.decode()
    refused = as_(alice).post(page, follow=True).content.decode()
    assert "cannot be archived while job" in refused
    type(job).objects.filter(pk=job.pk).update(assignment="automatic", pool=None)
    assert "Pool Heavy is archived." in as_(alice).post(page, follow=True).content.decode()
    pool.refresh_from_db()
    assert pool.archived_at is not None
    assert pool.agents.count() == 0


def test_the_catalogue_is_read_only(alice: User, root: User, agent: factories.Enrolled) -> None:
    version = agent.agent.functions.first()
    for user in (alice, root):
        for name, pk in (
            ("functionversion", version.pk),
            ("function", version.function_id),
            ("tool", version.function.tool_id),
        ):
            client = as_(user)
            assert client.get(url(f"{name}_change", pk)).status_code == 200
            assert client.post(url(f"{name}_change", pk), {"version": "9"}).status_code == 403
            assert client.get(url(f"{name}_add")).status_code == 403
            assert client.post(url(f"{name}_delete", pk), {"post": "yes"}).status_code == 403
