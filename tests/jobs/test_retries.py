"""What is tried again by itself: after which ends, when, by whom, and what stops it."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models.functions import Now
from django.utils import timezone

from agents import enrolment
from agents.models import Function
from jobs import definitions, making, planner, planning, retries, starts, sweeps, transitions, turns
from jobs.models import Job, JobRun, RunInput, SiteSchedule
from jobs.states import RETRIED, RETRIED_BY_ITSELF
from sites import places, sql
from sites.archiving import archive_target
from sites.models import Event, Site, Target, User
from sites.problems import Refused
from tests import factories
from tests.factories import Enrolled
from tests.jobs.passing import deadline_over, lease_over, pause_over, queue_limit_over
from tests.pages import admin_path, as_, facts, html, words
from tests.people import API

pytestmark = pytest.mark.django_db


@pytest.fixture
def stubborn(job: Job) -> Job:
    """Edda's backup, tried again twice: after five and after ten minutes."""
    Job.objects.filter(pk=job.pk).update(retries=2)
    job.refresh_from_db()
    return job


def begin(agent: Enrolled) -> dict[str, Any]:
    [held] = agent.api.claim()
    agent.api.move(held, "running")
    return held


def fail(agent: Enrolled) -> JobRun:
    """Let the run that waits end as failed."""
    held = begin(agent)
    assert agent.api.finish(held, "failed", message="No.").status_code == 200
    return JobRun.objects.get(public_id=held["id"])


def end(reason: str, run: JobRun, agent: Enrolled, alice: User) -> JobRun:
    """Let a run end for a reason, as it comes about."""
    if reason == "never_claimed":
        queue_limit_over(run)
        sweeps.sweep()
    else:
        held = begin(agent)
        if reason == "error":
            agent.api.finish(held, "failed", message="No.")
        elif reason == "agent_restarted":
            agent.api.finish(held, "failed", reason="agent_restarted", message="Restarted.")
        elif reason == "credential_revoked":
            enrolment.retire(agent.agent, by=alice)
        elif reason == "deadline":
            deadline_over(held)
            sweeps.sweep()
        else:
            lease_over(held)
            sweeps.sweep()
    run.refresh_from_db()
    assert run.reason == reason
    return run


def come(run: JobRun) -> None:
    """Let the time of a run's next try have come."""
    changed = JobRun.objects.filter(pk=run.pk, retry_at__isnull=False).update(
        retry_at=Now() - timedelta(seconds=1)
    )
    assert changed == 1


def tried_again(run: JobRun) -> JobRun:
    come(run)
    assert retries.retry_due() == 1
    run.refresh_from_db()
    assert (run.retry_at, run.retry_note) == (None, "")
    return run.retries.get()


def given_up(run: JobRun) -> str:
    """Let its time come; gives why no try was made."""
    come(run)
    number = JobRun.objects.count()
    assert retries.retry_due() == 0
    run.refresh_from_db()
    assert (run.retry_at, JobRun.objects.count()) == (None, number)
    assert Event.objects.filter(kind="run.given_up", subject_id=run.public_id).count() == 1
    assert retries.retry_due() == 0
    return run.retry_note


@pytest.mark.parametrize("reason", RETRIED)
@pytest.mark.parametrize("policy", ["default", "only", "others", "none"])
def test_each_end_is_tried_again_as_the_job_says(
    policy: str, reason: str, stubborn: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    chosen = {
        "default": [str(one) for one in RETRIED_BY_ITSELF],
        "only": [str(reason)],
        "others": [str(one) for one in RETRIED if one != reason],
        "none": [str(reason)],
    }[policy]
    if policy != "default":
        Job.objects.update(retry_reasons=chosen, retries=0 if policy == "none" else 2)
        stubborn.refresh_from_db()
    assert stubborn.retry_reasons == chosen
    run = end(str(reason), factories.run(stubborn, by=edda), agent, alice)
    again = retries.will_retry(run)
    assert (again is not None) is (reason in chosen and policy != "none")
    event = Event.objects.filter(kind=f"run.{run.status}").latest("pk")
    assert bool(event.data["retry_at"]) is (again is not None)
    if again is not None:
        assert (again.number, again.tries) == (2, 3)
        assert run.finished_at is not None
        assert abs(again.at - run.finished_at - timedelta(minutes=5)) < timedelta(seconds=1)


def test_the_wait_doubles_and_each_try_is_counted(
    stubborn: Job, agent: Enrolled, edda: User
) -> None:
    run = factories.run(stubborn, by=edda)
    waits = []
    for number, left in ((1, 2), (2, 1), (3, 0)):
        run = fail(agent)
        assert (run.try_number, run.tries_left, run.tries) == (number, left, 3)
        if run.retry_at is None or run.finished_at is None:
            break
        waits.append(round((run.retry_at - run.finished_at).total_seconds()))
        assert retries.retry_due() == 0, "not before its time"
        again = tried_again(run)
        assert (again.retry_of, again.job, again.occurrence) == (run, stubborn, None)
        run = again
    assert waits == [300, 600]
    assert retries.will_retry(run) is None
    assert JobRun.objects.count() == 3


@pytest.mark.parametrize(
    ("wait", "number", "expected"),
    [(10, 1, 10), (10, 2, 20), (10, 10, 5120), (300, 9, 76800), (300, 10, 86400),
     (86400, 1, 86400), (86400, 10, 86400)],
)  # fmt: skip
def test_no_wait_is_longer_than_a_day(
    wait: int, number: int, expected: int, stubborn: Job, agent: Enrolled, edda: User
) -> None:
    Job.objects.update(retry_wait_s=wait, retries=10)
    factories.run(stubborn, by=edda)
    JobRun.objects.update(try_number=number)
    run = fail(agent)
    assert run.retry_at is not None
    assert run.finished_at is not None
    assert round((run.retry_at - run.finished_at).total_seconds()) == expected


def test_a_try_is_its_starters_with_what_the_first_was_given(
    stubborn: Job, agent: Enrolled, manuel: User, edda: User
) -> None:
    """Rule 6: the first run's starter, not the job's owner; parameters and inputs as they were."""
    given = {"exclude": ["tmp"]}
    one = RunInput(
        name="list.txt", media_type="text/plain", size=3, sha256="0" * 64, storage_name="x/y"
    )
    first = starts.start_run(stubborn, by=manuel, parameters=given, inputs=[one]).run
    again = tried_again(fail(agent))
    assert (again.started_by, again.parameters) == (manuel, given)
    assert [each.name for each in again.inputs.all()] == ["list.txt"]
    move = again.transitions.get()
    assert (move.user, move.message) == (None, "Try 2 of 3, started by itself.")
    assert first.transitions.get(sequence=1).user == manuel
    [held] = agent.api.claim()
    assert held["parameters"] == given


def test_who_presses_retry_begins_a_new_series(
    stubborn: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    factories.run(stubborn, by=edda)
    run = fail(agent)
    pressed = starts.retry(run, by=alice).run
    assert (pressed.try_number, pressed.tries_left, pressed.started_by) == (1, 2, alice)
    assert given_up(run) == "The job is at work again already."
    assert retries.will_retry(fail(agent)) is not None


def test_what_went_well_or_was_taken_back_is_not_tried_again(
    stubborn: Job, agent: Enrolled, edda: User
) -> None:
    run = factories.run(stubborn, by=edda)
    transitions.cancel(run, by=edda)
    other = factories.target(stubborn.site, "Line 2")
    listing = Function.objects.get(tool__name="folder", name="list")
    plain = factories.job(other, listing, owner=edda, retries=3)
    factories.run(plain, by=edda)
    held = begin(agent)
    agent.api.finish(held, "completed")
    assert not JobRun.objects.filter(retry_at__isnull=False).exists()


def test_it_is_dropped_where_the_job_was_started_again(
    stubborn: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    factories.run(stubborn, by=edda)
    run = fail(agent)
    factories.run(stubborn, by=alice)
    second = fail(agent)
    # Also by a clock that was set back since.
    JobRun.objects.exclude(pk=run.pk).update(created_at=Now() - timedelta(hours=1))
    assert given_up(run) == "The job was started again meanwhile."
    assert JobRun.objects.filter(retry_of=run).count() == 0
    assert tried_again(second).started_by == alice


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("archived", "The job was archived."),
        ("off", "The job's schedule was switched off."),
        ("no_retries", "The job's retries were switched off."),
        ("target", "Target “Press line 1” is archived; nothing starts there."),
        ("agent", "Agent “hall-agent” is retired; give job “Press line 1 backup” another one."),
        ("starter", "Manuel, who started it, may not start the job any more."),
        ("owner", "Manuel, who started it, may not start the job any more."),
        ("account", "Manuel, who started it, may not start the job any more."),
    ],
)
def test_it_is_dropped_where_nothing_may_start(
    change: str, words: str, stubborn: Job, agent: Enrolled, manuel: User, alice: User
) -> None:
    if change in ("owner", "account"):
        Job.objects.update(owner=manuel)
    factories.run(stubborn, by=manuel)
    run = fail(agent)
    match change:
        case "archived":
            definitions.archive(stubborn, by=alice)
        case "off":
            Job.objects.update(enabled=False)
        case "no_retries":
            Job.objects.update(retries=0)
        case "target":
            archive_target(stubborn.target)
        case "agent":
            Job.objects.update(assignment="agent", agent=agent.agent)
            enrolment.retire(agent.agent, by=alice)
        case "account":
            User.objects.filter(pk=manuel.pk).update(is_active=False)
        case _:
            manuel.memberships.all().delete()
    before = run.updated_at
    assert given_up(run) == words
    assert run.updated_at > before
    assert f"It is not tried again: {words}" in _page(alice, run)
    if change not in ("starter", "owner"):
        assert API(alice).get(f"runs/{run.public_id}").json()["retry_note"] == words


def _page(by: User, run: JobRun) -> str:
    return words(html(by, f"/jobs/{run.public_id}"))


@pytest.mark.parametrize("kind", ["job", "site"])
def test_it_waits_while_its_job_or_site_is_paused(
    kind: str, stubborn: Job, hall: Site, agent: Enrolled, edda: User, alice: User
) -> None:
    factories.run(stubborn, by=edda)
    run = fail(agent)
    come(run)
    until, reason = timezone.now() + timedelta(hours=1), "Oil"
    if kind == "job":
        definitions.pause(stubborn, until=until, reason=reason, by=alice)
    else:
        places.pause_site(hall, until=until, reason=reason, by=alice)
    assert retries.retry_due() == 0
    run.refresh_from_db()
    assert run.retry_at is not None
    pause_over(stubborn if kind == "job" else hall)
    assert retries.retry_due() == 1


def test_one_that_cannot_be_made_holds_up_no_other(
    stubborn: Job, backup: Function, agent: Enrolled, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = factories.job(factories.target(stubborn.site, "Line 2"), backup, owner=edda, retries=1)
    runs = []
    for job in (stubborn, other):
        factories.run(job, by=edda)
        runs.append(fail(agent))
    for run in runs:
        come(run)
    make = making.make

    def odd(wanted: Any) -> Any:
        if wanted[0].job == stubborn.pk:
            raise IntegrityError("Failing row contains (7, secret).")
        return make(wanted)

    monkeypatch.setattr(making, "make", odd)
    assert retries.retry_due() == 1
    runs[0].refresh_from_db()
    refused = "the database refused it, and the portal's log says why"
    assert runs[0].retry_note == f"It could not be tried again: {refused}"
    assert retries.retry_due() == 0


def test_a_try_without_the_credential_of_the_first_is_not_made(
    stubborn: Job, agent: Enrolled, alice: User, manuel: User
) -> None:
    """Who starts a job may have its owner's parameters sent a secret, and no others."""
    secret = factories.credential(stubborn.organization, by=alice)
    Target.objects.filter(pk=stubborn.target_id).update(credential=secret)
    starts.start_run(stubborn, by=manuel)
    run = fail(agent)
    assert run.credential_id == secret.pk
    Job.objects.filter(pk=stubborn.pk).update(parameters={"exclude": ["b"]})
    assert given_up(run) == retries.WITHOUT_CREDENTIAL
    assert not run.retries.exists()


@pytest.mark.parametrize("change", [{"enabled": False}, {"retries": 0}], ids=["off", "no more"])
def test_a_job_that_is_switched_off_is_promised_no_try(
    change: dict[str, Any], stubborn: Job, agent: Enrolled, edda: User
) -> None:
    factories.run(stubborn, by=edda)
    Job.objects.update(**change)
    assert retries.will_retry(fail(agent)) is None


def test_of_what_a_site_lets_in_no_more_are_tried_again_than_it_lets_in(
    stubborn: Job, agent: Enrolled, edda: User, backup: Function
) -> None:
    other = factories.job(factories.target(stubborn.site, "Line 2"), backup, owner=edda)
    site = planning.of_site(stubborn.site)
    site.schedule_kind, site.schedule_time, site.at_once = "daily", time(1), 1
    planning.save_for_site(site)
    for place, job in enumerate((stubborn, other)):
        job.schedule_kind, job.site_order = "site", place
        definitions.save(job, by=edda)
    SiteSchedule.objects.update(next_run_at=sql.clock() - timedelta(seconds=1))
    assert planner.plan() == 2
    run = fail(agent)
    assert run.job == stubborn
    turns.release()
    held = begin(agent)
    assert held["target"]["name"] == "Line 2"
    again = tried_again(run)
    assert turns.release() == 0
    assert agent.api.claim() == []
    agent.api.finish(held, "failed", message="No.")
    assert turns.release() == 1
    assert [one["id"] for one in agent.api.claim()] == [str(again.public_id)]


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


def test_a_job_that_is_not_tried_again_may_name_no_end(job: Job, edda: User) -> None:
    job.retry_reasons = []
    definitions.save(job, by=edda)
    job.retries = 1
    with pytest.raises(Refused) as refused:
        definitions.save(job, by=edda)
    assert (refused.value.errors or {}).keys() == {"retry_reasons"}


def test_only_what_is_due_is_looked_at(
    stubborn: Job, agent: Enrolled, edda: User, django_assert_num_queries: Any
) -> None:
    """Along the index of those that are to be tried again, however long the history."""
    factories.run(stubborn, by=edda)
    fail(agent)
    with django_assert_num_queries(1):
        assert retries.retry_due() == 0
    if not sql.on_postgresql():
        assert "run_retry_due" in retries.due().explain()
