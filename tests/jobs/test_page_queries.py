"""How many queries a page takes, whatever stands on it."""

from __future__ import annotations

import pytest

from jobs.models import Job
from sites.models import User
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def _runs(job: Job, number: int, by: User) -> None:
    job.overlap = "allow"
    job.save()
    for _ in range(number):
        factories.run(job, by=by)


@pytest.mark.parametrize("who", ["alice", "manuel", "edda", "vera"])
@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/jobs/history", "/jobs/manage", "/sites", "/agents"]
)
def test_pages_take_as_many_queries_for_three_rows_as_for_one(
    path: str, who: str, cast: dict[str, User], job: Job, django_assert_max_num_queries: object
) -> None:
    """At most 12 queries, the two of the session included, whatever the number of rows."""
    client = as_(cast[who])
    for number in (1, 2):
        _runs(job, number, cast["edda"])
        if number == 2:
            for name in ("Second", "Third"):
                factories.job(job.target, job.function, owner=cast["edda"], name=name)
                factories.target(job.site, f"{name} press")
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            assert client.get(path).status_code == 200


@pytest.mark.parametrize("who", ["alice", "manuel", "edda", "vera"])
def test_what_is_unwell_and_what_waits_take_no_more_queries(
    who: str, cast: dict[str, User], job: Job, agent: Enrolled,
    django_assert_max_num_queries: object,
) -> None:  # fmt: skip
    """At most 12 on the pages that show a failed run and a pending one beside each other."""
    client = as_(cast[who])
    factories.run(job, by=cast[who] if who != "vera" else cast["edda"])
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.finish(held, "failed", message="No.")
    factories.run(job, by=cast[who] if who != "vera" else cast["edda"])
    for path in ("/", "/jobs/manage", f"/jobs/manage/{job.public_id}", "/jobs/history", "/jobs"):
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            assert client.get(path).status_code == 200


def test_a_run_page_takes_at_most_twelve_queries(
    job: Job, agent: Enrolled, edda: User, django_assert_max_num_queries: object
) -> None:
    run = factories.run(job, by=edda)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.post(agent.api.of(held, "log"), {"offset": 0, "text": "Reading.\n"})
    agent.api.finish(held, "failed", message="No.")
    client = as_(edda)
    for tab in ("summary", "log", "history"):
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            assert client.get(f"/jobs/{run.public_id}?tab={tab}").status_code == 200
