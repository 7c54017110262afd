"""A pause of a job, a site or an agent: what waits, what goes on, and how it ends."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.db.models import F
from django.utils import timezone

from agents import enrolment
from agents.enrolment import drain, retire
from agents.models import Agent, Function
from jobs import definitions, dispatch, sweeps
from jobs.models import Job, JobRun
from sites.models import Event, Organization, Site, Target, User
from sites.problems import Refused
from tests import databases, factories
from tests.factories import Enrolled
from tests.jobs.passing import pause_over
from tests.jobs.pausing import KINDS, ask_pause, in_api, kind_of, pause
from tests.pages import as_, html
from tests.people import API
from tests.waiting import until

pytestmark = pytest.mark.django_db


def why(by: User, run: JobRun) -> str:
    """Why a run waits, as the API says it."""
    return str(API(by).get(f"runs/{run.public_id}").json()["waiting"]["message"])


@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_what_is_paused_waits_and_is_taken_when_the_pause_is_over(
    thing: Any, agent: Enrolled, job: Job, alice: User
) -> None:
    told = pause(thing, alice)
    assert told.status_code == 200
    shown = told.json()["pause"]
    assert (shown["reason"], shown["by"]["name"]) == ("New bearings", "Alice")
    run = factories.run(job, by=alice)
    assert agent.api.claim() == []
    waits = why(alice, run)
    assert "paused" in waits
    assert waits.split("until")[1].strip()[:4].isdigit()
    assert ("New bearings" in waits) is (kind_of(thing) != "agent")
    assert waits.split(":")[0] in html(alice, f"/jobs/{run.public_id}")
    # The agent does not even ask while it is its own pause.
    beat = agent.api.post("heartbeat", {"runs": []}).json()
    assert beat["drain"] is (kind_of(thing) == "agent")
    assert Agent.objects.get().takes_runs is not beat["drain"]
    pause_over(thing)
    assert agent.api.post("heartbeat", {"runs": []}).json()["drain"] is False
    assert API(alice).get(in_api(thing)).json()["pause"] is None
    assert "about to take it" in why(alice, run)
    [claimed] = agent.api.claim()
    assert claimed["id"] == str(run.public_id)


@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_it_ends_when_somebody_resumes(thing: Any, agent: Enrolled, job: Job, alice: User) -> None:
    pause(thing, alice)
    run = factories.run(job, by=alice)
    assert agent.api.claim() == []
    told = API(alice).post(in_api(thing, "/resume"))
    assert (told.status_code, told.json()["pause"]) == (200, None)
    if kind_of(thing) != "agent":
        # Those who take from the queues of the runs that wait are woken.
        event = Event.objects.filter(kind=f"{kind_of(thing)}.changed").latest("pk")
        assert event.data["queues"] == {str(run.queue_id): 1}
    assert len(agent.api.claim()) == 1
    events = Event.objects.count()
    assert API(alice).post(in_api(thing, "/resume")).status_code == 200
    assert Event.objects.count() == events, "there was nothing to end"


@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_what_runs_goes_on(thing: Any, agent: Enrolled, job: Job, alice: User) -> None:
    run = factories.run(job, by=alice)
    [claimed] = agent.api.claim()
    pause(thing, alice)
    assert agent.api.move(claimed, "running").status_code == 200
    assert agent.api.finish(claimed, "failed").status_code == 200
    run.refresh_from_db()
    assert run.status == "failed"


@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_others_are_not_held_up(
    thing: Any, works: Organization, yard: Site, agent: Enrolled, job: Job, alice: User
) -> None:
    other = factories.enrolled(works, "yard-agent", site=yard, by=alice)
    crane = factories.target(yard, "Crane")
    free = factories.job(crane, job.function, owner=alice)
    rover = factories.enrolled(works, "rover", by=alice)
    pause(thing, alice)
    held, first = (factories.run(one, by=alice) for one in (job, free))
    [claimed] = other.api.claim()
    assert claimed["id"] == str(first.public_id)
    # It serves all sites, and takes what the paused agent does not.
    taken = [one["id"] for one in rover.api.claim()]
    assert taken == ([str(held.public_id)] if kind_of(thing) == "agent" else [])


@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_the_longest_wait_begins_when_the_pause_is_over(
    thing: Any, agent: Enrolled, job: Job, alice: User
) -> None:
    Job.objects.update(assignment="agent", agent=agent.agent, queue_timeout_s=600)
    job.refresh_from_db()
    pause(thing, alice)
    run = factories.run(job, by=alice)
    JobRun.objects.update(created_at=F("created_at") - timedelta(days=3))
    JobRun.objects.update(queue_until=F("created_at") + timedelta(minutes=10))
    assert sweeps.sweep() == 0
    for minutes in (0, 9):
        pause_over(thing, minutes=minutes)
        assert sweeps.sweep() == 0, "it has its whole wait from then on"
    pause_over(thing, minutes=11)
    assert sweeps.sweep() == 1
    run.refresh_from_db()
    assert (run.status, run.reason) == ("timed_out", "never_claimed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "2001-01-01T00:00:00Z", "reason": "x"}, "until"),
        ({"until": "9999-12-31T23:59:59Z", "reason": "x"}, "until"),
        ({"until": "tomorrow", "reason": "x"}, "until"),
        ({"reason": "x"}, "until"),
        ({"until": "SOON", "reason": ""}, "reason"),
        ({"until": "SOON", "reason": " \t "}, "reason"),
        ({"until": "SOON", "reason": "x" * 301}, "reason"),
        ({"until": "SOON", "reason": "over\nJob is fine"}, "reason"),
        ({"until": "SOON", "reason": "over\u2028Job is fine"}, "reason"),
        ({"until": "SOON", "reason": "li\u202eo"}, "reason"),
        ({"until": "SOON", "reason": "bell\x07"}, "reason"),
        ({"until": "SOON"}, "reason"),
        ({"until": "SOON", "reason": "x", "by": "me"}, "by"),
    ],
)
@pytest.mark.parametrize("thing", KINDS, indirect=True)
@pytest.mark.once
def test_a_bad_pause_is_refused_by_field_and_leaves_nothing(
    thing: Any, alice: User, body: dict[str, str], field: str
) -> None:
    soon = (timezone.now() + timedelta(hours=1)).isoformat()
    sent = {name: soon if value == "SOON" else value for name, value in body.items()}
    events = Event.objects.count()
    answer = API(alice).post(in_api(thing, "/pause"), sent)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])
    thing.refresh_from_db()
    assert (thing.paused_until, thing.pause_reason, thing.paused_by) == (None, "", None)
    assert Event.objects.count() == events


@pytest.mark.once
def test_what_was_put_away_is_not_paused(
    job: Job, agent: Enrolled, yard: Site, alice: User
) -> None:
    definitions.archive(job, by=alice)
    retire(agent.agent, by=alice)
    API(alice).delete(in_api(yard))
    for one in (job, agent.agent, yard):
        assert ask_pause(one, alice).status_code == 409
        one.refresh_from_db()
        assert one.paused_until is None


@pytest.mark.once
def test_who_edits_a_job_meanwhile_does_not_end_its_pause(job: Job, alice: User) -> None:
    stale = Job.objects.get(pk=job.pk)
    pause(job, alice)
    stale.name = "Renamed"
    definitions.save(stale, by=alice)
    stored = Job.objects.get(pk=job.pk)
    assert (stored.name, stored.is_paused, stored.pause_reason) == ("Renamed", True, "New bearings")


@pytest.mark.once
def test_a_job_of_a_paused_site_on_another_target_waits_too(
    hall: Site, agent: Enrolled, backup: Function, press: Target, alice: User
) -> None:
    """Ad hoc runs as well: the pause is of the place."""
    pause(hall, alice)
    body = {"target": str(press.public_id), "function": str(backup.public_id)}
    made = API(alice).post("runs", body)
    assert made.status_code == 201
    assert "is paused until" in made.json()["waiting"]["message"]
    assert agent.api.claim() == []


@pytest.mark.once
def test_words_of_every_language_are_a_reason(job: Job, alice: User) -> None:
    for reason in ("Arrêt\u00a0: huile", "停止", "توقف", "Oil \U0001f468\u200d\U0001f527"):
        assert pause(job, alice, reason=reason).json()["pause"]["reason"] == reason


def test_a_claim_that_is_asked_for_again_gives_its_runs_in_a_pause(
    hall: Site, agent: Enrolled, job: Job, alice: User
) -> None:
    factories.run(job, by=alice)
    claim_id = uuid4()
    first = agent.api.claim(claim_id=claim_id)
    pause(hall, alice)
    assert agent.api.claim(claim_id=claim_id) == first


def test_backup_now_and_retry_wait_and_say_for_what(agent: Enrolled, job: Job, alice: User) -> None:
    run = factories.run(job, by=alice)
    [claimed] = agent.api.claim()
    agent.api.move(claimed, "running")
    agent.api.finish(claimed, "failed")
    pause(job, alice)
    again = API(alice).post(f"runs/{run.public_id}/retry")
    assert again.status_code == 201
    assert "New bearings" in again.json()["waiting"]["message"]
    said = as_(alice).post(f"/jobs/manage/{job.public_id}/run", follow=True).content.decode()
    assert "waits already; no second run was started" in said
    assert agent.api.claim() == []
    JobRun.objects.filter(status="pending").delete()
    said = as_(alice).post(f"/jobs/manage/{job.public_id}/run", follow=True).content.decode()
    assert f"{job.name} waits." in said
    assert "New bearings" in said


def test_who_may_not_see_the_agent_reads_no_reason_of_it(
    works: Organization, job: Job, alice: User, vera: User
) -> None:
    rover = factories.enrolled(works, "rover", by=alice).agent
    Job.objects.update(assignment="agent", agent=rover)
    job.refresh_from_db()
    pause(rover, alice, reason="A confidential matter")
    run = factories.run(job, by=alice)
    assert API(vera).get(f"agents/{rover.public_id}").status_code == 404
    words = why(vera, run)
    assert words.startswith("rover is paused until")
    assert "confidential" not in words


@pytest.mark.parametrize("thing", ["agent"], indirect=True)
def test_who_drains_as_well_goes_on_draining(thing: Any, job: Job, alice: User) -> None:
    pause(thing, alice)
    drain(thing, on=True)
    run = factories.run(job, by=alice)
    words = why(alice, run)
    assert "is draining and takes no new runs" in words


@pytest.mark.parametrize("thing", KINDS, indirect=True)
@pytest.mark.parametrize("ahead", [1, -1])
def test_the_databases_clock_decides(
    thing: Any, ahead: int, agent: Enrolled, job: Job, alice: User
) -> None:
    """The web process's clock is an hour off."""
    pause(thing, alice)
    factories.run(job, by=alice)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=ahead)):
        assert agent.api.claim() == []
        assert API(alice).post(in_api(thing, "/resume")).status_code == 200
        assert agent.api.post("heartbeat", {"runs": []}).json()["drain"] is False
        assert len(agent.api.claim()) == 1


@pytest.mark.once
def test_of_a_stale_row_the_stored_one_decides(agent: Enrolled, job: Job, alice: User) -> None:
    stale_agent, stale_job = Agent.objects.get(pk=agent.agent.pk), Job.objects.get(pk=job.pk)
    retire(agent.agent, by=alice)
    soon = timezone.now() + timedelta(hours=1)
    with pytest.raises(Refused):
        enrolment.pause(stale_agent, until=soon, reason="Oil", by=alice)
    pause(job, alice)
    definitions.resume(stale_job)
    job.refresh_from_db()
    assert not job.is_paused


@pytest.mark.postgres
@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_a_claim_that_waited_for_its_agent_sees_the_pause_of_meanwhile(
    thing: Any, agent: Enrolled, job: Job, alice: User
) -> None:
    """The pause was answered before the claim could look at any run."""
    factories.run(job, by=alice)
    other = connection.copy()
    with contextlib.closing(other), ThreadPoolExecutor(1) as pool:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM agents_agent WHERE id = %s FOR SHARE", [agent.agent.pk])
        claim = pool.submit(_claim, agent.agent)
        until(databases.one_waits_for_a_lock)
        if kind_of(thing) == "agent":
            # Who holds the row pauses it.
            with other.cursor() as cursor:
                cursor.execute(
                    "UPDATE agents_agent SET paused_until = now() + interval '1 hour'"
                    " WHERE id = %s",
                    [thing.pk],
                )
        else:
            pause(thing, alice)
        with other.cursor() as cursor:
            cursor.execute("COMMIT")
        assert claim.result() == []


def _claim(agent: Agent) -> list[Any]:
    try:
        return dispatch.claim(agent, uuid4(), most=8)
    finally:
        connection.close()
