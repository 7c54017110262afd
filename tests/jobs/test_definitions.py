"""Which agents a job or run may name, and that nothing brings an archived job back."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission

from agents import enrolment
from agents.models import Agent, AgentPool, Assignment, PoolUserPermission
from jobs import definitions, starts
from jobs.models import Job, JobRun
from sites.models import User
from sites.problems import Refused
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_
from tests.people import API

pytestmark = pytest.mark.once


@pytest.fixture
def reserved(agent: Enrolled) -> AgentPool:
    """A restricted pool with the agent in it, granted to nobody yet."""
    pool = AgentPool.objects.create(
        organization=agent.agent.organization, name="Night shift", restricted=True
    )
    pool.agents.add(agent.agent)
    return pool


def grant(pool: AgentPool, user: User) -> None:
    PoolUserPermission.objects.create(
        content_object=pool,
        user=user,
        permission=Permission.objects.get(codename="operate_agentpool"),
    )


def assign(user: User, job: Job, agent: Agent) -> Any:
    return API(user).patch(f"jobs/{job.public_id}", {"agent": str(agent.public_id)})


def test_an_agent_of_a_restricted_pool_is_for_those_it_was_granted_to(
    job: Job, agent: Enrolled, reserved: AgentPool, edda: User, alice: User
) -> None:
    """Domain: its agents can be chosen by them alone, also one by one."""
    for user in (edda, alice):
        answer = assign(user, job, agent.agent)
        assert answer.status_code == 422
        assert "restricted pool" in answer.json()["errors"]["agent"][0]
    run = {
        "target": str(job.target.public_id),
        "function": str(job.function.public_id),
        "agent": str(agent.agent.public_id),
    }
    assert API(edda).post("runs", run).status_code == 422
    assert not JobRun.objects.exists()

    grant(reserved, edda)
    assert assign(edda, job, agent.agent).status_code == 200
    # What stays as it was is not chosen anew.
    assert API(alice).patch(f"jobs/{job.public_id}", {"name": "Renamed"}).status_code == 200
    job.refresh_from_db()
    assert (job.agent, job.assignment) == (agent.agent, Assignment.AGENT)


def test_a_retired_agent_is_not_waited_for(
    job: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    assert assign(edda, job, agent.agent).status_code == 200
    enrolment.retire(agent.agent, by=alice)
    answer = API(edda).post(f"jobs/{job.public_id}/run", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "agent_retired")
    other = factories.job(job.target, job.function, owner=edda, name="Other")
    answer = assign(edda, other, agent.agent)
    assert answer.status_code == 422
    assert "retired" in answer.json()["errors"]["agent"][0]


def test_what_was_read_before_a_job_was_archived_starts_and_changes_nothing(
    job: Job, edda: User
) -> None:
    """Two people at once: one has the job on screen while the other puts it away."""
    read_before = Job.objects.get(pk=job.pk)
    definitions.archive(job, by=edda)
    with pytest.raises(Refused) as refused:
        starts.start_run(read_before, by=edda)
    assert refused.value.code == "archived"
    read_before.name = "Renamed"
    with pytest.raises(Refused) as refused:
        definitions.save(read_before, by=edda)
    assert refused.value.code == "archived"
    job.refresh_from_db()
    assert job.archived_at is not None
    assert not JobRun.objects.exists()


@pytest.mark.parametrize("field", ["run_timeout", "queue_timeout"])
def test_the_form_takes_the_shortest_limit_and_says_which_it_is(
    field: str, job: Job, edda: User
) -> None:
    """Ten seconds, as in the API; a zero is not taken for an empty field."""
    client, path = as_(edda), f"/jobs/manage/{job.public_id}/edit"
    sent = {"name": "n", "who": "automatic", "run_timeout": "60", "queue_timeout": "60"}
    for number in ("0", "0.16", "-1"):
        answer = client.post(path, sent | {field: number})
        assert answer.status_code == 422
        assert "Give at least 0.17 minutes: ten seconds" in answer.content.decode()
    api = API(edda)
    assert api.patch(f"jobs/{job.public_id}", {f"{field}_s": 10}).status_code == 200
    assert f'name="{field}" value="0.17"' in client.get(path).content.decode()
    assert client.post(path, sent | {field: "0.17"}).status_code == 302
    job.refresh_from_db()
    assert getattr(job, f"{field}_s") == 10
    assert api.patch(f"jobs/{job.public_id}", {f"{field}_s": 9}).status_code == 422
