"""Retries at the doors: what the run's page says of them, who calls one off, how a job is set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from jobs import retries
from jobs.models import Job, JobRun
from jobs.states import RETRIED_BY_ITSELF
from sites.models import Event, Site, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.trying import fail, tried_again
from tests.pages import admin_path, as_, facts, html, words
from tests.people import API

pytestmark = pytest.mark.django_db


def _page(by: User, run: JobRun) -> str:
    return words(html(by, f"/jobs/{run.public_id}"))


@pytest.mark.once
def test_the_page_leads_from_try_to_try(stubborn: Job, agent: Enrolled, edda: User) -> None:
    factories.run(stubborn, by=edda)
    run = fail(agent)
    page = _page(edda, run)
    assert "Tried again at" in page
    assert "try 2 of 3." in page
    Site.objects.update(paused_until=Now() + timedelta(days=1), pause_reason="Oil")
    assert "Tried again, try 2 of 3, when the pause is over, not before" in _page(edda, run)
    Site.objects.update(paused_until=None)
    again = tried_again(run)
    first, second = (html(edda, f"/jobs/{each.public_id}") for each in (run, again))
    assert (facts(first)["Try"], facts(second)["Try"]) == ("1 of 3", "2 of 3")
    assert f"It was tried again as {str(again.public_id)[:6]}…" in words(first)
    assert f'href="/jobs/{again.public_id}"' in first
    assert f'href="/jobs/{run.public_id}"' in second
    fail(agent)
    tried_again(JobRun.objects.get(pk=again.pk))
    last = fail(agent)
    assert "It was the last of 3 tries." in _page(edda, last)
    assert "2, the first after 5 min" in words(html(edda, f"/jobs/manage/{stubborn.public_id}"))


@pytest.mark.parametrize("door", ["page", "API"])
def test_who_may_start_the_job_calls_a_waiting_try_off(
    door: str, stubborn: Job, agent: Enrolled, edda: User, vera: User
) -> None:
    factories.run(stubborn, by=edda)
    run = fail(agent)
    address = f"/jobs/{run.public_id}"
    assert "Call the retry off" in html(edda, address)
    assert "Call the retry off" not in html(vera, address)
    assert as_(vera).post(f"{address}/call-off").status_code == 403
    if door == "page":
        assert as_(edda).post(f"{address}/call-off").status_code == 302
    else:
        told = API(edda).post(f"runs/{run.public_id}/call-off").json()
        assert (told["retry_at"], told["retry_note"]) == (None, "Edda called it off.")
    run.refresh_from_db()
    assert (run.retry_at, run.retry_note) == (None, "Edda called it off.")
    assert Event.objects.filter(kind="run.given_up", subject_id=run.public_id).count() == 1
    page = html(edda, address)
    assert "It is not tried again: Edda called it off." in words(page)
    assert "Call the retry off" not in page
    # It comes by itself no more, and nothing is left to call off.
    assert retries.retry_due() == 0
    again = API(edda).post(f"runs/{run.public_id}/call-off")
    assert (again.status_code, again.json()["code"]) == (409, "no_retry")
    said = as_(edda).post(f"{address}/call-off", follow=True).content.decode()
    assert "No other try of this run waits." in said


@pytest.mark.once
def test_what_a_job_says_of_it_is_taken_and_refused_at_every_door(
    job: Job, edda: User, alice: User
) -> None:
    api, address = API(edda), f"jobs/{job.public_id}"
    told = api.get(address).json()
    assert (told["retries"], told["retry_wait_s"]) == (0, 300)
    assert told["retry_reasons"] == [str(one) for one in RETRIED_BY_ITSELF]
    sent = {"retries": 3, "retry_wait_s": 60, "retry_reasons": ["error", "deadline", "error"]}
    told = api.patch(address, sent).json()
    assert (told["retries"], told["retry_wait_s"]) == (3, 60)
    assert told["retry_reasons"] == ["error", "deadline"]
    wrong: dict[str, Any]
    for wrong in (
        {"retries": 11}, {"retries": -1}, {"retry_wait_s": 9}, {"retry_wait_s": 86401},
        {"retry_reasons": ["lease_ended"]}, {"retry_reasons": []}, {"retry_reasons": "error"},
    ):  # fmt: skip
        answer = api.patch(address, wrong)
        field = next(iter(answer.json()["errors"])).split(".")[0]
        assert (answer.status_code, field) == (422, *wrong)
    path = f"/jobs/manage/{job.public_id}/edit"
    form = html(edda, path)
    assert 'name="retries" value="3"' in form
    page = {
        "name": job.name, "who": "automatic", "run_timeout": "60", "queue_timeout": "60",
        "retries": "2", "retry_wait": "0.17", "retry_reasons": ["agent_lost"],
    }  # fmt: skip
    assert as_(edda).post(path, page).status_code == 302
    job.refresh_from_db()
    assert (job.retries, job.retry_wait_s, job.retry_reasons) == (2, 10, ["agent_lost"])
    refused = as_(edda).post(path, page | {"retry_reasons": []})
    assert refused.status_code == 422
    assert "Say after which ends it is tried again." in refused.content.decode()
    admin = as_(alice).get(admin_path(job, "change", job.pk)).content.decode()
    assert "Tried again after" in admin
