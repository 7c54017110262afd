"""A secret that a job or a run holds goes to no other address of its target."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from agents.models import Function
from jobs import definitions
from jobs.models import Job, JobRun
from jobs.starts import start_run
from sites import places
from sites.models import Event, Target, User
from sites.problems import Refused
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_
from tests.people import API

pytestmark = pytest.mark.django_db

PASSWORD = "hunter2hunter2"
ELSEWHERE = "198.51.100.66"
KEPT = {"exclude": ["*.tmp"], "password": PASSWORD}


@pytest.fixture
def keeper(job: Job) -> Job:
    job.parameters = KEPT
    job.save()
    return job


def ended(agent: Enrolled) -> None:
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    assert agent.api.finish(held, "failed").status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": ELSEWHERE}, "address"),
        ({"settings": {"host": ELSEWHERE}}, "settings"),
        ({"address": ELSEWHERE, "settings": {"host": ELSEWHERE}}, "address"),
    ],
)
def test_a_target_does_not_move_while_its_jobs_hold_secrets(
    keeper: Job, press: Target, agent: Enrolled, edda: User, change: dict[str, Any], field: str
) -> None:
    """An editor who does not know the secret cannot have it sent to a machine of their own."""
    api, path = API(edda), f"targets/{press.public_id}"
    answer = api.patch(path, change)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    (said,) = answer.json()["errors"][field]
    assert said.startswith("Job “Press line 1 backup” holds secrets for the present address")
    assert "clear_job_secrets" in said
    press.refresh_from_db()
    assert (press.address, press.settings, press.moved_at) == ("10.20.4.11", {}, None)
    assert api.patch(path, {"name": "Press", "settings": {"retries": 3}}).status_code == 200
    assert api.patch(path, change | {"clear_job_secrets": True}).status_code == 200
    keeper.refresh_from_db()
    assert keeper.parameters == {"exclude": ["*.tmp"]}
    assert Event.objects.filter(kind="job.changed", subject_id=keeper.public_id).count() == 1
    # Given anew, the secret goes to the new address.
    assert api.patch(f"jobs/{keeper.public_id}", {"parameters": KEPT}).status_code == 200
    assert api.post(f"jobs/{keeper.public_id}/run", {}).status_code == 201
    held = agent.api.claim()[0]
    assert held["parameters"] == KEPT
    assert change.items() <= held["target"].items()


def test_all_jobs_that_hold_secrets_are_counted_and_others_are_not(
    keeper: Job, press: Target, backup: Function, edda: User
) -> None:
    for name in ("b", "c", "d", "e"):
        factories.job(press, backup, owner=edda, name=name, parameters={"password": name * 9})
    factories.job(press, backup, owner=edda, name="a", parameters={"exclude": ["a"]})
    put_away = factories.job(press, backup, owner=edda, name="f", parameters=KEPT)
    api, path = API(edda), f"targets/{press.public_id}"
    assert api.delete(f"jobs/{put_away.public_id}").status_code == 204
    (said,) = api.patch(path, {"address": ELSEWHERE}).json()["errors"]["address"]
    assert said.startswith("Jobs “Press line 1 backup”, “b”, “c” and 2 more hold secrets")
    Job.objects.filter(target=press).update(parameters={})
    assert api.patch(path, {"address": ELSEWHERE}).status_code == 200


def test_the_admin_asks_as_well_and_clears_on_demand(
    keeper: Job, press: Target, alice: User
) -> None:
    client, page = as_(alice), reverse("admin:sites_target_change", args=[press.pk])
    assert "Clear the secrets of its jobs" in client.get(page).content.decode()
    sent = {"name": "Press", "address": ELSEWHERE, "settings": "{}"}
    answer = client.post(page, sent)
    assert answer.status_code == 200
    assert "Job “Press line 1 backup” holds secrets" in answer.content.decode()
    press.refresh_from_db()
    assert press.address == "10.20.4.11"
    assert client.post(page, sent | {"clear_job_secrets": "on"}).status_code == 302
    press.refresh_from_db()
    keeper.refresh_from_db()
    assert (press.address, keeper.parameters) == (ELSEWHERE, {"exclude": ["*.tmp"]})


def test_a_run_that_waits_with_a_secret_holds_its_target_where_it_is(
    press: Target, backup: Function, agent: Enrolled, edda: User
) -> None:
    api, path = API(edda), f"targets/{press.public_id}"
    place = {"target": str(press.public_id), "function": str(backup.public_id)}
    assert api.post("runs", place | {"parameters": KEPT}).status_code == 201
    for change in ({"address": ELSEWHERE}, {"address": ELSEWHERE, "clear_job_secrets": True}):
        answer = api.patch(path, change)
        assert answer.status_code == 422
        assert "when no such run is active" in answer.json()["errors"]["address"][0]
    ended(agent)
    assert api.patch(path, {"address": ELSEWHERE}).status_code == 200


@pytest.mark.parametrize("of_a_job", [True, False])
def test_no_retry_takes_an_old_secret_to_a_new_address(
    of_a_job: bool, keeper: Job, press: Target, backup: Function, agent: Enrolled, edda: User,
    alice: User,
) -> None:  # fmt: skip
    api = API(edda)
    if of_a_job:
        first = api.post(f"jobs/{keeper.public_id}/run", {})
    else:
        place = {"target": str(press.public_id), "function": str(backup.public_id)}
        first = api.post("runs", place | {"parameters": KEPT})
    assert first.status_code == 201
    ended(agent)
    run = JobRun.objects.get(public_id=first.json()["id"])
    moving = {"address": ELSEWHERE, "clear_job_secrets": True}
    assert api.patch(f"targets/{press.public_id}", moving).status_code == 200
    refused = api.post(f"runs/{run.public_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "target_moved")
    assert "with its secrets written out" in refused.json()["detail"]
    page = as_(edda).post(f"/jobs/{run.public_id}/retry", follow=True).content.decode()
    assert "has another address since this run" in page
    if of_a_job:
        admin = reverse("admin:jobs_jobrun_retry", args=[run.pk])
        page = as_(alice).post(admin, follow=True).content.decode()
        assert "has another address since this run" in page
    assert JobRun.objects.count() == 1
    # What was made at the new address is retried there.
    fresh = api.post(f"jobs/{keeper.public_id}/run", {"parameters": KEPT})
    assert fresh.status_code == 201
    ended(agent)
    assert api.post(f"runs/{fresh.json()['id']}/retry").status_code == 201


def test_a_run_without_secrets_is_retried_wherever_its_target_is(
    job: Job, press: Target, agent: Enrolled, edda: User
) -> None:
    api, run = API(edda), factories.run(job, by=edda)
    ended(agent)
    assert api.patch(f"targets/{press.public_id}", {"address": ELSEWHERE}).status_code == 200
    assert api.post(f"runs/{run.public_id}/retry").status_code == 201


def test_a_job_stays_at_its_target(keeper: Job, press: Target, edda: User, alice: User) -> None:
    other = factories.target(press.site, "Press line 2", address=ELSEWHERE)
    answer = API(edda).patch(f"jobs/{keeper.public_id}", {"target": str(other.public_id)})
    assert answer.status_code == 422
    form = {
        "name": "n", "target": other.pk, "assignment": "automatic", "run_timeout_s": 60,
        "schedule_days": "[]", "overlap": "skip", "grace_s": 0, "spread_s": 0, "site_order": 0,
        "retries": 0, "retry_wait_s": 300, "retry_reasons": "[]",
        "queue_timeout_s": 60, "tags": "[]", "parameters": "{}",
    }  # fmt: skip
    path = reverse("admin:jobs_job_change", args=[keeper.pk])
    assert as_(alice).post(path, form).status_code == 302
    keeper.refresh_from_db()
    assert (keeper.name, keeper.target) == ("n", press)


def test_what_was_cleared_meanwhile_does_not_come_back(
    keeper: Job, press: Target, edda: User
) -> None:
    """Of two requests at once, the one that read the secret before it was cleared loses."""
    stale = Job.objects.get(pk=keeper.pk)
    places.save_target(press, clear_secrets=True, address=ELSEWHERE)
    with pytest.raises(Refused) as refused:
        start_run(stale, by=edda, parameters=stale.parameters)
    assert refused.value.code == "changed"
    assert start_run(stale, by=edda).run.parameters == {"exclude": ["*.tmp"]}
    with pytest.raises(Refused) as refused:
        definitions.save(stale, by=edda)
    assert refused.value.code == "changed"
    keeper.refresh_from_db()
    assert keeper.parameters == {"exclude": ["*.tmp"]}


def test_a_target_is_held_against_what_is_stored_not_what_was_read(
    press: Target, edda: User
) -> None:
    """Another editor has moved it since this one read it."""
    press.settings = {"password": PASSWORD}
    press.save()
    stale = Target.objects.get(pk=press.pk)
    moved = {"address": ELSEWHERE, "settings": {"password": "another"}}
    assert API(edda).patch(f"targets/{press.public_id}", moved).status_code == 200
    with pytest.raises(Refused):
        places.save_target(stale, address="10.20.4.11")
    press.refresh_from_db()
    assert (press.address, press.settings) == (ELSEWHERE, {"password": "another"})
