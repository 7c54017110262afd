"""Saved jobs leave as CSV and come back, by the rules of their other doors."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import enrolment
from agents.models import AgentPool
from jobs.models import Job
from sites.models import Organization, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.sites.test_import import confirm, exported, look, told, written

JOBS = "jobs_job"


@pytest.fixture
def row(job: Job, alice: User) -> dict[str, str]:
    """The job as it leaves, with a secret."""
    Job.objects.filter(pk=job.pk).update(
        parameters={"exclude": ["tmp"], "password": "open sesame"}, tags=["nightly"]
    )
    (found,) = exported(alice, JOBS)
    return found


@pytest.mark.once
def test_a_job_leaves_without_its_secret_and_comes_back(
    row: dict[str, str], job: Job, press: Target, alice: User
) -> None:
    assert row["parameters"] == '{"exclude": ["tmp"], "password": "••••"}'
    assert (row["function"], row["target"], row["tags"]) == (
        "folder.backup", "Press line 1", '["nightly"]',
    )  # fmt: skip
    looked = look(alice, written([row]), JOBS)
    assert "as it was" in told(looked)
    changed = row | {"name": "Nightly", "run_timeout_s": "600", "overlap": "allow"}
    twin = row | {"id": "", "name": "Twin", "parameters": '{"exclude": []}', "tags": ""}
    looked = look(alice, written([changed, twin]), JOBS)
    assert "changed: name, overlap, run_timeout_s" in told(looked)
    assert Job.objects.count() == 1
    assert "2 rows were imported." in told(confirm(alice, looked, JOBS))
    job.refresh_from_db()
    assert (job.name, job.run_timeout_s, job.overlap) == ("Nightly", 600, "allow")
    assert job.parameters["password"] == "open sesame"
    made = Job.objects.get(name="Twin")
    assert (made.owner, made.target, made.tags) == (alice, press, [])


def test_what_the_rules_refuse_is_said_by_row(
    row: dict[str, str], works: Organization, job: Job, alice: User
) -> None:
    vault = AgentPool.objects.create(organization=works, name="Vault", restricted=True)
    new = row | {"id": "", "parameters": "{}"}
    wrong = {
        "folder.backup": new | {"function": "folder.nonsense", "name": "A"},
        "There is no target “Boat”": new | {"target": "Boat", "name": "B"},
        "exclude": new | {"parameters": '{"exclude": 7}', "name": "C"},
        "pool: No such pool.": new | {"assignment": "pool", "pool": "Vault", "name": "D"},
        "agent: Name the agent.": new | {"assignment": "agent", "name": "E"},
        "Write one of automatic, agent, pool.": new | {"assignment": "me", "name": "F"},
        "“soon” is no whole number.": new | {"run_timeout_s": "soon", "name": "G"},
        "Write true or false.": new | {"auto_commit": "maybe", "name": "H"},
        "for good": row | {"target": "Press line 2"},
        "tags: Write a JSON list.": new | {"tags": "{}", "name": "I"},
        "tags: Write a list of texts": new | {"tags": "[7]", "name": "K"},
        "tags: A tag has 1 to 60 characters.": new | {"tags": f'["{"x" * 61}"]', "name": "L"},
        "tags: A job has at most 30 tags.": new | {"tags": json.dumps(["x"] * 31), "name": "M"},
        "parameters: ": new | {"parameters": '{"password": "••••"}', "name": "J"},
    }
    looked = look(alice, written(list(wrong.values())), JOBS)
    assert looked.status_code == 422
    for words in wrong:
        assert words in told(looked), words
    assert Job.objects.get() == job
    assert vault.jobs.count() == 0


@pytest.mark.once
def test_a_job_of_a_retired_agent_comes_back_as_it_was(
    row: dict[str, str], job: Job, agent: Enrolled, alice: User
) -> None:
    Job.objects.filter(pk=job.pk).update(assignment="agent", agent=agent.agent)
    enrolment.retire(agent.agent, by=alice)
    (found,) = exported(alice, JOBS)
    assert found["agent"] == "hall-agent"
    assert "as it was" in told(look(alice, written([found]), JOBS))


def test_foreign_jobs_are_not_there(row: dict[str, str], oscar: User, elsewhere: object) -> None:
    assert exported(oscar, JOBS) == []
    refused = look(oscar, written([row, row | {"id": ""}]), JOBS)
    assert "There is no such job." in told(refused)
    assert "There is no target “Press line 1”" in told(refused)
    assert factories.Job.objects.count() == 1


@pytest.mark.once
def test_the_file_of_many_jobs_takes_as_many_queries_as_that_of_one(
    row: dict[str, str], press: Target, job: Job, edda: User, alice: User
) -> None:
    with CaptureQueriesContext(connection) as one:
        assert len(exported(alice, JOBS)) == 1
    for number in range(5):
        more = {"name": f"Job {number}", "parameters": {"exclude": []}}
        factories.job(press, job.function, owner=edda, **more)
    with CaptureQueriesContext(connection) as many:
        assert len(exported(alice, JOBS)) == 6
    assert len(many) == len(one)


@pytest.mark.once
def test_a_schedule_leaves_in_a_file_and_comes_back(
    row: dict[str, str], job: Job, alice: User
) -> None:
    weekly = row | {
        "schedule_kind": "weekly", "schedule_time": "02:30", "schedule_days": "sun mon",
    }  # fmt: skip
    confirm(alice, look(alice, written([weekly]), JOBS), JOBS)
    job.refresh_from_db()
    assert (job.schedule_kind, job.schedule_days) == ("weekly", ["mon", "sun"])
    assert job.next_run_at is not None
    same = weekly | {"schedule_days": "mon sun"}
    assert "as it was" in told(look(alice, written([same]), JOBS))
    for time_of_day in ("02:00Z", "02:00+05:00", "25:00", "02:00:30"):
        wrong = look(alice, written([weekly | {"schedule_time": time_of_day}]), JOBS)
        assert "Write a time such as 02:00." in told(wrong)
    cron = weekly | {"schedule_kind": "cron", "schedule_cron": "0  3 * * *"}
    confirm(alice, look(alice, written([cron]), JOBS), JOBS)
    assert "as it was" in told(look(alice, written([cron]), JOBS))
    # An empty cell leaves what is stored; a word takes it away.
    assert "as it was" in told(look(alice, written([cron | {"schedule_kind": ""}]), JOBS))
    confirm(alice, look(alice, written([cron | {"schedule_kind": "none"}]), JOBS), JOBS)
    job.refresh_from_db()
    assert (job.schedule_kind, job.schedule_cron, job.next_run_at) == ("", "", None)
