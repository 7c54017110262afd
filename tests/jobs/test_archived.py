"""What is archived stays to be read, and starts nothing any more."""

from __future__ import annotations

import pytest
from django.test import Client

from jobs import definitions, starts
from jobs.models import Job, JobRun
from sites import archiving
from sites.models import User
from sites.problems import Refused
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_, html

pytestmark = pytest.mark.django_db


def finished(job: Job, agent: Enrolled, by: User) -> JobRun:
    run = factories.run(job, by=by)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.finish(held, "failed", message="No.")
    return run


def html_of(client: Client) -> str:
    return str(client.get("/jobs/manage").content.decode())


def test_an_archived_job_is_read_and_not_started(job: Job, agent: Enrolled, alice: User) -> None:
    run = finished(job, agent, alice)
    path = f"/jobs/manage/{job.public_id}"
    definitions.archive(job, by=alice)
    page = html(alice, path)
    assert "This job is archived." in page
    for act in ("Backup Now", "Edit job", "Archive job"):
        assert act not in page
    assert path in html(alice, f"/jobs/{run.public_id}")
    assert job.name not in html(alice, "/jobs/manage")
    client = as_(alice)
    for act in ("edit", "archive"):
        assert client.get(f"{path}/{act}").status_code == 404
    client.post(f"{path}/run")
    assert "is archived and starts no more." in html_of(client)
    assert JobRun.objects.count() == 1


@pytest.mark.parametrize("what", ["target", "site"])
def test_nothing_starts_where_all_is_archived(
    what: str, job: Job, agent: Enrolled, alice: User
) -> None:
    run = finished(job, agent, alice)
    if what == "target":
        archiving.archive_target(job.target)
    else:
        archiving.archive_site(job.site)
    client = as_(alice)
    assert "The target of this job is archived." in html(alice, f"/jobs/manage/{job.public_id}")
    assert "Backup Now" not in html(alice, "/jobs/manage")
    client.post(f"/jobs/manage/{job.public_id}/run")
    assert "is archived; nothing starts there." in html_of(client)
    client.post(f"/jobs/{run.public_id}/retry")
    with pytest.raises(Refused) as refused:
        starts.start_function(job.target, job.function, by=alice)
    assert refused.value.code == "archived"
    assert JobRun.objects.count() == 1
