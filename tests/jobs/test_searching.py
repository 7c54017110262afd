"""The search among runs: what it finds, and that it reads no more than that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection

from jobs import searching
from jobs.models import Job, JobRun
from sites.models import Organization, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.people import API

pytestmark = pytest.mark.django_db


@pytest.fixture
def named(job: Job, alice: User) -> dict[str, str]:
    """Runs with names and external ids; which name has which id."""
    found = {}
    for name, external_id in (
        ("Press line 1 backup", ""),
        ("Night count", "BOT-17"),
        ("Ärger an der Weiche", "bot-18"),
        ("100 % of the yard", "100_17"),
    ):
        run = factories.run(job, by=alice)
        JobRun.objects.filter(pk=run.pk).update(
            name=name, external_id=external_id, status="failed", finished_at=run.created_at
        )
        found[str(run.public_id)] = name
    return found


FINDS = [
    ("press", ["Press line 1 backup"]),
    ("COUNT", ["Night count"]),
    ("ärger", ["Ärger an der Weiche"]),
    ("e", ["100 % of the yard", "Press line 1 backup", "Ärger an der Weiche"]),
    ("100 %", ["100 % of the yard"]),
    ("BOT-17", ["Night count"]),
    ("100_", ["100 % of the yard"]),
    ("%", ["100 % of the yard"]),
    ("_", []),
    ("nothing", []),
]


@pytest.mark.parametrize(("text", "names"), FINDS)
def test_a_run_is_found_by_part_of_its_name_or_the_beginning_of_its_external_id(
    text: str, names: list[str], named: dict[str, str], alice: User
) -> None:
    found = API(alice).get("runs", search=text).json()["results"]
    assert sorted(named[run["id"]] for run in found) == names


@pytest.mark.parametrize("bound", ["MOST_NAMES", "MOST_FOUND"])
def test_more_names_than_are_read_are_looked_through_run_by_run(
    bound: str, named: dict[str, str], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, bound, 2)
    found = API(alice).get("runs", search="e").json()["results"]
    assert sorted(named[run["id"]] for run in found) == FINDS[3][1]


def test_a_name_of_another_organization_is_no_help_to_find_its_runs(
    named: dict[str, str], elsewhere: Organization, oscar: User, alice: User
) -> None:
    assert API(oscar).get("runs", search="press").json()["results"] == []


@pytest.mark.postgres
def test_a_search_reads_what_it_finds_and_no_other_run(
    press: Target, job: Job, agent: Enrolled, works: Organization, alice: User
) -> None:
    """A text that no run has was looked for in each run: 2.3 s in a million."""
    factories.run(job, by=alice)
    [like] = JobRun.objects.values()
    kept = {key: value for key, value in like.items() if key not in ("id", "public_id")}
    ended = {"status": "failed", "finished_at": like["created_at"]}
    JobRun.objects.bulk_create(
        JobRun(**kept | ended | {"name": f"Backup {n % 20}", "external_id": f"run-{n}"})
        for n in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_jobrun")
    assert rows_read("nothing", works) == 0
    assert rows_read("run-19", works) == 111
    assert rows_read("backup 7", works) == 100


def rows_read(text: str, organization: Organization) -> int:
    """How many runs PostgreSQL reads for the first page of a search, past the names."""
    runs = JobRun.objects.filter(
        searching.runs_with(text, [organization.pk]), organization=organization
    )
    sql, params = runs.order_by("-created_at", "-id")[:50].query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        [found] = cursor.fetchone()
    plans: list[dict[str, Any]] = [
        (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    ]
    read = 0
    while plans:
        node = plans.pop()
        plans += node.get("Plans", [])
        if node.get("Relation Name") == "jobs_jobrun":
            read += node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return read
