"""Retry: what it answers while the job is at work again, and who may still press it."""

from __future__ import annotations

from datetime import timedelta

from django.urls import reverse

from agents.models import Function
from jobs.models import Job, JobRun
from sites.access import set_role
from sites.models import Site, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_
from tests.people import API


def failed(agent: Enrolled) -> None:
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    assert agent.api.finish(held, "failed").status_code == 200


def test_a_job_that_is_at_work_again_gives_its_run_and_says_so(
    job: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    first = factories.run(job, by=edda)
    failed(agent)
    second = factories.run(job, by=edda)
    answer = API(edda).post(f"runs/{first.public_id}/retry")
    assert answer.status_code == 200
    assert answer.json()["id"] == str(second.public_id)
    page = as_(edda).post(f"/jobs/{first.public_id}/retry", follow=True)
    assert page.redirect_chain[-1][0] == f"/jobs/{second.public_id}"
    assert "at work already" in page.content.decode()
    path = reverse("admin:jobs_jobrun_retry", args=[first.pk])
    assert "is at work already" in as_(alice).post(path, follow=True).content.decode()
    assert JobRun.objects.count() == 2


def test_who_lost_the_role_retries_nothing(
    press: Target, hall: Site, job: Job, agent: Enrolled, edda: User
) -> None:
    """An ad hoc run is its starter's to retry, while they may start something there at all."""
    asked = {"target": str(press.public_id), "function": str(job.function.public_id)}
    made = API(edda).post("runs", asked)
    assert made.status_code == 201
    failed(agent)
    retry = f"runs/{made.json()['id']}/retry"
    assert API(edda).post(retry).status_code == 201
    set_role(edda, "viewer", on=hall)
    assert API(edda).post("runs", asked).status_code == 403
    assert API(edda).post(retry).status_code == 403
    assert as_(edda).post(f"/jobs/{made.json()['id']}/retry").status_code == 403
    assert "Retry" not in as_(edda).get(f"/jobs/{made.json()['id']}").content.decode()
    assert JobRun.objects.count() == 2


def test_an_ad_hoc_run_keeps_its_limits_when_it_is_retried(
    press: Target, backup: Function, agent: Enrolled, edda: User
) -> None:
    api = API(edda)
    place = {"target": str(press.public_id), "function": str(backup.public_id)}
    first = api.post("runs", place | {"run_timeout_s": 120, "queue_timeout_s": 900})
    assert first.status_code == 201, first.content
    failed(agent)
    again = api.post(f"runs/{first.json()['id']}/retry")
    assert again.status_code == 201
    run = JobRun.objects.get(public_id=again.json()["id"])
    assert run.run_timeout_s == 120
    assert run.queue_until - run.created_at == timedelta(seconds=900)
