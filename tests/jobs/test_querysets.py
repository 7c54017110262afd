"""What a page asks of every job's runs is read along an index, whoever looks."""

from __future__ import annotations

from copy import copy
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from jobs import transitions
from jobs.filters import RunFilter
from jobs.models import Job, JobRun
from jobs.querysets import DURATION, RunQuerySet
from sites.models import User
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/", "/jobs/manage"])
def test_a_managers_newest_run_of_each_job_is_read_along_an_index(
    path: str, job: Job, edda: User, manuel: User
) -> None:
    """Without one each job's whole history is read, since Manuel sees his own runs alone.

    Measured with 200 jobs of 1,000 runs each on PostgreSQL 15: 43 ms without, 1.7 ms with it.
    """
    others = factories.run(job, by=edda)
    transitions.cancel(others, by=edda)
    row = JobRun.objects.get()
    # Among so few all indexes are alike.
    more = [copy(row) for _ in range(500)]
    for one in more:
        one.pk, one.public_id = None, uuid4()
    JobRun.objects.bulk_create(more)
    client = Client()
    client.force_login(manuel)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_jobrun")
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
    with CaptureQueriesContext(connection) as asked:
        assert client.get(path).status_code == 200
    newest = [one["sql"] for one in asked.captured_queries if '."job_id" = (' in one["sql"]]
    assert newest
    explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    for sql in newest:
        with connection.cursor() as cursor:
            cursor.execute(explain + sql)
            plan = "\n".join(" ".join(map(str, line)) for line in cursor.fetchall())
        # Either reads his own runs alone; which one is cheaper is for the database to know.
        assert "run_of_job_by_starter" in plan or "run_of_starter" in plan, plan


@pytest.mark.once
@pytest.mark.parametrize(
    ("index", "runs"),
    [
        ("run_held", JobRun.objects.executing().filter(agent=1)),
        ("run_active", JobRun.objects.active().order_by("status", "id")),
        ("run_pending_in_queue", JobRun.objects.pending().filter(queue=1)),
    ],
    ids=["executing", "active", "pending"],
)
def test_sqlite_knows_the_conditions_of_its_indexes_again(index: str, runs: RunQuerySet) -> None:
    """It compares them word for word: in another order `/agents` counted through every run."""
    assert f"INDEX {index}" in runs.explain()


@pytest.mark.parametrize(
    ("index", "narrowed", "order"),
    [
        ("run_failed", {"outcome": "failed"}, "-created"),
        ("run_cancelled", {"outcome": "cancelled"}, "-created"),
        ("run_cancelled_by_duration", {"outcome": "cancelled"}, "-duration"),
        # As a parameter of the statement SQLite does not know the status.
        pytest.param(
            *("run_cancelled_by_duration", {"status": ["timed_out"]}, "-duration"),
            marks=pytest.mark.postgres,
        ),
        ("run_by_result", {"outcome": "partial"}, "-created"),
        ("run_by_result", {"result": ["partial"]}, "-created"),
    ],
)
def test_what_is_rare_is_not_looked_for_among_all_runs(
    index: str, narrowed: dict[str, Any], order: str, job: Job, edda: User, rf: RequestFactory
) -> None:
    """With 300,000 runs and none that failed SQLite took 325 ms to find that out. Those that timed
    out have no duration, and lay at the end of five million that have one: 6 s.
    """
    factories.run(job, by=edda)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_sort = off")
    request = rf.get("/")
    request.user = edda
    runs = JobRun.objects.filter(organization=job.organization)
    found = RunFilter(narrowed, queryset=runs, request=request).qs
    sorts = {"-created": F("created_at").desc(), "-duration": DURATION.desc()}
    plan = found.order_by(sorts[order], "-id").explain()
    assert index in plan, plan
