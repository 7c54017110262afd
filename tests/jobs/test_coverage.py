"""Which targets are not backed up as they should be, and what the report offers to mend it."""

from __future__ import annotations

import csv
import io
import re
from datetime import time, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from agents.models import Function
from jobs import definitions, proposals
from jobs.models import Job, JobRun
from sites.models import Site, Snapshot, Target, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.pages import as_, html, rows
from tests.people import API, logged_in

pytestmark = pytest.mark.django_db


def gaps(user: User, **query: Any) -> dict[str, str]:
    """What the API says is missing, by the name of the target."""
    results = API(user).get("coverage", **query).json()["results"]
    return {row["target"]["name"]: row["gap"] for row in results}


def backed_up(job: Job, agent: Enrolled, by: User, *, hours_ago: float, files: Any) -> JobRun:
    """A backup that began so many hours ago."""
    run = factories.run(job, by=by)
    back_up(agent.api, files)
    at = Now() - timedelta(hours=hours_ago)
    JobRun.objects.filter(pk=run.pk).update(created_at=at, started_at=at)
    return JobRun.objects.get(pk=run.pk)


def test_what_is_missing_of_a_target(job: Job, agent: Enrolled, hall: Site, edda: User) -> None:
    """No job, never, too long ago; the target's own objective goes before its site's."""
    press = job.target
    factories.target(hall, "Pump")
    assert gaps(edda) == {"Press line 1": "never", "Pump": "no_job"}
    backed_up(job, agent, edda, hours_ago=5, files={"a": b"1"})
    assert gaps(edda) == {"Pump": "no_job"}
    Site.objects.update(recovery_point_h=4)
    assert gaps(edda) == {"Press line 1": "overdue", "Pump": "no_job"}
    Target.objects.filter(pk=press.pk).update(recovery_point_h=6)
    assert gaps(edda) == {"Pump": "no_job"}
    Target.objects.filter(pk=press.pk).update(recovery_point_h=3)
    # Up to date is as good as a change that was accepted, and newer.
    assert gaps(edda, gap="overdue") == {"Press line 1": "overdue"}
    backed_up(job, agent, edda, hours_ago=1, files={"a": b"1"})
    assert gaps(edda) == {"Pump": "no_job"}
    Job.objects.filter(pk=job.pk).update(archived_at=Now())
    assert gaps(edda) == {"Press line 1": "no_job", "Pump": "no_job"}
    Target.objects.filter(name="Pump").update(archived_at=Now())
    assert gaps(edda) == {"Press line 1": "no_job"}


def test_a_job_that_leaves_no_snapshot_backs_nothing_up(
    press: Target, agent: Enrolled, edda: User
) -> None:
    listing = Function.objects.get(tool__name="folder", name="list")
    factories.job(press, listing, owner=edda)
    assert gaps(edda) == {"Press line 1": "no_job"}


def test_only_a_backup_that_was_accepted_is_good(job: Job, agent: Enrolled, edda: User) -> None:
    """Rule 10: what waits, was rejected, failed or was purged brings nothing back."""
    Job.objects.filter(pk=job.pk).update(auto_commit=False)
    job.refresh_from_db()
    rejected = backed_up(job, agent, edda, hours_ago=3, files={"a": b"1"})
    assert gaps(edda) == {"Press line 1": "never"}
    proposals.reject(rejected, by=edda, comment="Nobody ordered it.")
    assert gaps(edda) == {"Press line 1": "never"}
    factories.run(job, by=edda)
    [held] = agent.api.claim()
    agent.api.move(held, "running")
    agent.api.finish(held, "failed")
    assert gaps(edda) == {"Press line 1": "never"}
    accepted = backed_up(job, agent, edda, hours_ago=2, files={"a": b"2"})
    proposals.accept(accepted, by=edda, comment="As ordered.")
    assert gaps(edda) == {}
    Snapshot.objects.filter(pk=accepted.snapshot_id).update(purged_at=Now())
    assert gaps(edda) == {"Press line 1": "never"}


def test_backups_that_one_may_not_see_do_not_count(
    job: Job, agent: Enrolled, elsewhere_job: Job, cast: dict[str, User]
) -> None:
    """Rule 2: a manager without a grant sees every target, and of the runs their own."""
    backed_up(job, agent, cast["edda"], hours_ago=1, files={"a": b"1"})
    expected = {
        "alice": {"Yard crane": "never"},
        "edda": {},
        "vera": {},
        "manuel": {"Press line 1": "never", "Yard crane": "never"},
        "mia": {},
        "oscar": {},
        "root": {"Yard crane": "never"},
    }
    assert {name: gaps(cast[name]) for name in expected} == expected
    own = backed_up(job, agent, cast["manuel"], hours_ago=1, files={"a": b"1"})
    assert gaps(cast["manuel"]) == {"Yard crane": "never"}
    assert str(own.public_id) not in str(API(cast["manuel"]).get("coverage").json())


@pytest.mark.once
def test_each_row_offers_the_act_that_mends_it(
    job: Job, agent: Enrolled, hall: Site, cast: dict[str, User]
) -> None:
    pump = factories.target(hall, "Pump")
    page = html(cast["edda"], "/sites/coverage")
    shown = {row["Target"]: row["What is missing"] for row in rows(page)}
    assert shown == {"Press line 1 Press hall": "Never backed up", "Pump Press hall": "No job"}
    assert "0 of 2 targets covered" in page
    assert f'href="/jobs/manage/add?target={pump.public_id}"' in page
    assert f'action="/jobs/manage/{job.public_id}/run"' in page
    # The target stays chosen while the function is.
    added = html(cast["edda"], f"/jobs/manage/add?target={pump.public_id}")
    chooses = re.search(r'href="(\?[^"]*function=[^"]*)"', added)
    assert chooses
    form = html(cast["edda"], "/jobs/manage/add" + chooses[1].replace("&amp;", "&"))
    assert re.search(f'value="{pump.public_id}"[^>]* selected', form)
    # Who only views opens the job.
    viewed = html(cast["vera"], "/sites/coverage")
    assert "Backup Now" not in viewed
    assert f'href="/jobs/manage/{job.public_id}"' in viewed
    assert "/jobs/manage/add" not in viewed


@pytest.mark.once
def test_the_report_is_narrowed_and_leaves_as_a_file(
    job: Job, agent: Enrolled, hall: Site, yard: Site, alice: User
) -> None:
    factories.target(hall, "=Pump")
    factories.target(yard, "Crane")
    page = html(alice, f"/sites/coverage?gap=no_job&site={hall.public_id}")
    assert [row["Target"] for row in rows(page)] == ["=Pump Press hall"]
    link = re.search(r'href="(/api/v1/coverage\?[^"]*)"', page)
    assert link
    answer = logged_in(alice).get(link[1].replace("&amp;", "&"))
    table = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [(row["target.name"], row["gap"]) for row in table] == [("'=Pump", "no_job")]
    wrong = html(alice, "/sites/coverage?site=00000000-0000-4000-8000-000000000000")
    assert "This filter is not valid." in wrong


@pytest.mark.once
def test_where_nothing_is_missing_the_page_says_so(
    job: Job, agent: Enrolled, edda: User, mia: User
) -> None:
    backed_up(job, agent, edda, hours_ago=1, files={"a": b"1"})
    page = html(edda, "/sites/coverage")
    assert "Every target is covered" in page
    assert "1 of 1 target covered" in page
    assert "No target that you may see" in html(mia, "/sites/coverage")


@pytest.mark.parametrize("who", ["alice", "edda", "manuel"])
@pytest.mark.once
def test_the_report_costs_the_same_with_more_targets(
    job: Job, hall: Site, cast: dict[str, User], who: str, django_assert_num_queries: Any
) -> None:
    """Session, person, membership, organization, grants; then the menu, counts, rows, their jobs,
    and what may be done to both."""
    client = as_(cast[who])
    client.get("/sites/coverage")
    for number in (1, 3):
        for n in range(number - 1):
            factories.target(hall, f"Pump {n}")
            planned = factories.job(
                factories.target(hall, f"Line {n}"), job.function, owner=cast["edda"]
            )
            planned.schedule_kind, planned.schedule_time = "daily", time(2)
            definitions.save(planned, by=cast["edda"])
        with django_assert_num_queries(11):
            assert client.get("/sites/coverage").status_code == 200
