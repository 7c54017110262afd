"""The search among runs: what it finds, and that it reads no more than that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import searching
from jobs.models import Job, JobRun
from jobs.pages import page_of_runs
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
    """S1-13: Search by process name or external job ID."""
    found = API(alice).get("runs", search=text).json()["results"]
    assert sorted(named[run["id"]] for run in found) == names


@pytest.mark.parametrize("bound", ["MOST_NAMES", "MOST_FOUND"])
def test_more_names_than_are_read_are_looked_through_run_by_run(
    bound: str,
    works: Organization,
    named: dict[str, str],
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert searching.names_with("e", [works.pk]) == sorted(FINDS[3][1])
    monkeypatch.setattr(searching, bound, 2)
    assert searching.names_with("e", [works.pk]) is None
    for text, names in FINDS:
        # SQLite's own comparison knows upper and lower case of ASCII alone.
        if text.isascii() or connection.vendor == "postgresql":
            found = API(alice).get("runs", search=text).json()["results"]
            assert sorted(named[run["id"]] for run in found) == names, text


def test_the_names_that_are_read_are_those_of_the_organizations_that_one_belongs_to(
    named: dict[str, str], works: Organization, elsewhere: Organization, root: User
) -> None:
    assert searching.names_with("press", [elsewhere.pk]) == []
    assert searching.names_with("press", []) == []
    assert searching.names_with("press", [works.pk, elsewhere.pk]) == ["Press line 1 backup"]
    # Who sees every organization names one.
    for organization, many in ((works, 1), (elsewhere, 0)):
        found = API(root).get("runs", search="press", organization=str(organization.public_id))
        assert len(found.json()["results"]) == many


@pytest.fixture
def many(press: Target, job: Job, agent: Enrolled, alice: User) -> None:
    """2,000 runs that have ended, of two hundred names, and one that waits."""
    factories.run(job, by=alice)
    [like] = JobRun.objects.values()
    kept = {key: value for key, value in like.items() if key not in ("id", "public_id")}
    ended = {"status": "failed", "finished_at": like["created_at"]}
    JobRun.objects.bulk_create(
        JobRun(**kept | ended | {"name": f"Backup {n % 200}", "external_id": f"run-{n}"})
        for n in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_jobrun")


@pytest.mark.postgres
@pytest.mark.parametrize("who", ["alice", "edda", "root"])
def test_a_search_reads_what_it_finds_and_no_other_run(
    who: str, many: None, works: Organization, request: pytest.FixtureRequest
) -> None:
    """A text that no run has was looked for in each run: 2.3 s in a million."""
    user = request.getfixturevalue(who)
    assert rows_read("nothing", works, user) == 0
    # Of 2,001; twice where there are two reasons to see them.
    assert 11 <= rows_read("run-199", works, user) < 30
    assert 10 <= rows_read("backup 77", works, user) < 30


@pytest.mark.parametrize("what", ["names", "external ids"])
def test_names_and_external_ids_are_read_along_their_indexes(
    what: str, many: None, works: Organization
) -> None:
    """Whether or not the database knows the values when it makes its plan."""
    with CaptureQueriesContext(connection) as asked:
        if what == "names":
            searching.names_with("nothing", [works.pk])
        else:
            found = searching.runs_with("nothing", [works.pk])
            assert not JobRun.objects.filter(found).exists()
    sql = asked.captured_queries[-1]["sql"]
    explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    with connection.cursor() as cursor:
        cursor.execute(explain + sql)
        plan = "\n".join(" ".join(map(str, line)) for line in cursor.fetchall())
    assert ("run_of_name" if what == "names" else "run_of_external_id") in plan, plan
    assert "Seq Scan on jobs_jobrun" not in plan
    assert "SCAN jobs_jobrun" not in plan


def rows_read(text: str, organization: Organization, user: User) -> int:
    """How many runs PostgreSQL reads for the first page of a search, past the names."""
    found = JobRun.objects.filter(searching.runs_with(text, [organization.pk]))
    with CaptureQueriesContext(connection) as asked:
        page_of_runs(user, found, size=50)
    [sql] = [one["sql"] for one in asked.captured_queries if "LIMIT" in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        [said] = cursor.fetchone()
    plans: list[dict[str, Any]] = [(json.loads(said) if isinstance(said, str) else said)[0]["Plan"]]
    read = 0
    while plans:
        node = plans.pop()
        plans += node.get("Plans", [])
        if node.get("Relation Name") == "jobs_jobrun":
            read += node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return read
