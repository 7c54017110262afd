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
from jobs import definitions, making, planner, planning, retries, starts, transitions, turns
from jobs.models import Job, JobRun, RunInput, SiteSchedule
from jobs.states import RETRIED, RETRIED_BY_ITSELF
from sites import places, sql
from sites.archiving import archive_target
from sites.models import Event, Site, Target, User
from sites.problems import Refused
from tests import factories
from tests.factories import Enrolled
from tests.jobs.passing import pause_over
from tests.jobs.trying import begin, come, end, fail, given_up, tried_again
from tests.pages import html, words
from tests.people import API

pytestmark = pytest.mark.django_db


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
    ("change", "note"),
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
    change: str, note: str, stubborn: Job, agent: Enrolled, manuel: User, alice: User
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
    assert given_up(run) == note
    assert run.updated_at > before
    assert f"It is not tried again: {note}" in words(html(alice, f"/jobs/{run.public_id}"))
    if change not in ("starter", "owner"):
        assert API(alice).get(f"runs/{run.public_id}").json()["retry_note"] == note


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
