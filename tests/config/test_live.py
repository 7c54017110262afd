"""Who is let in at `/live/…`, who hears what, and how streams begin and end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections

from agents.models import Agent, Function
from agents.permissions import agent_policy
from jobs.models import Job, JobRun
from jobs.permissions import job_policy, run_policy
from sites import events, tokens
from sites.access import set_role
from sites.models import Event, Organization, Site, Target, User
from sites.permissions import target_policy
from tests import factories

from .live_process import LiveProcess, live_process, session_cookie

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def process(django_db_setup: None) -> Iterator[LiveProcess]:
    """One process for all tests that need no intervals of their own and do not end it."""
    with live_process(hints_s=0) as running:
        yield running
    assert len(running.connections()) == running.asked  # one line each, whatever the tests did


@pytest.fixture
def live(process: LiveProcess) -> Iterator[LiveProcess]:
    yield process
    process.hang_up()


def marker(user: User, organization: Organization) -> None:
    """Write an Event that this person hears of, whoever they are: what they started themselves."""
    events.record("run.marker", uuid4(), organization=organization, starter=user)


def goes_on(run: JobRun) -> Event:
    """Write the Event of a run that began."""
    return events.record(
        "run.running",
        run.public_id,
        organization=run.organization,
        site=run.site,
        target=run.target,
        starter=run.started_by,
        data={"job": str(run.job.public_id) if run.job else None},
    )


def start(target: Target, function: Function, user: User) -> JobRun:
    return factories.run(factories.job(target, function, owner=user), by=user)


def test_each_person_hears_of_what_the_policies_let_them_see(
    live: LiveProcess,
    cast: dict[str, User],
    works: Organization,
    elsewhere: Organization,
    yard: Site,
    press: Target,
    agent: factories.Enrolled,
    backup: Function,
    alice: User,
) -> None:
    lathe = factories.target(yard, "Lathe")
    tom = factories.member(works, "tom", "member", viewer=lathe)
    everyone = cast | {"tom": tom}
    pier = factories.site(elsewhere, "Pier")
    abroad = factories.enrolled(elsewhere, "pier-agent", site=pier, by=cast["oscar"])
    of_abroad = Function.objects.get(tool__organization=elsewhere, name="backup")
    crane = factories.target(pier, "Crane")
    rover = factories.enrolled(works, "rover", by=alice)
    keeper = factories.enrolled(works, "yard-agent", site=yard, by=alice)

    things: dict[str, Any] = {
        "Edda's run in the hall": start(press, backup, cast["edda"]),
        "Manuel's run in the yard": start(lathe, backup, cast["manuel"]),
        "Mia's run in the yard": start(factories.target(yard, "Saw"), backup, cast["mia"]),
        "a run abroad": start(crane, of_abroad, cast["oscar"]),
        "the hall's agent": agent.agent,
        "the yard's agent": keeper.agent,
        "the organization's agent": rover.agent,
        "an agent abroad": abroad.agent,
        "a job in the hall": Job.objects.get(target=press),
        "a job in the yard": Job.objects.get(target=lathe),
        "the press": press,
        "the lathe": lathe,
    }
    people = {name: elsewhere if name == "oscar" else works for name in everyone}
    pages = {name: live.page(user) for name, user in everyone.items()}
    for thing in things.values():
        match thing:
            case JobRun():
                goes_on(thing)
            case Agent():
                events.record(
                    "agent.lost",
                    thing.public_id,
                    organization=thing.organization,
                    site=thing.site,
                )
            case Job():
                events.record(
                    "job.changed",
                    thing.public_id,
                    organization=thing.organization,
                    site=thing.site,
                    target=thing.target,
                )
            case Target():
                events.record(
                    "target.accepted",
                    thing.public_id,
                    organization=thing.organization,
                    site=thing.site,
                    target=thing,
                )
    for name, organization in people.items():
        marker(everyone[name], organization)
    heard = {}
    for name in people:
        ids = []
        while (message := pages[name].message()) and not (
            message[0] == "run.marker" and message[1]["mine"]
        ):
            ids.append(message[1]["id"])
        heard[name] = ids

    table = {
        title: " ".join(sorted(name for name in people if str(thing.public_id) in heard[name]))
        for title, thing in things.items()
    }
    assert table == {
        "Edda's run in the hall": "alice edda root vera",
        "Manuel's run in the yard": "alice manuel root tom",
        "Mia's run in the yard": "alice mia root",
        "a run abroad": "oscar root",
        "the hall's agent": "alice edda manuel root vera",
        "the yard's agent": "alice manuel root tom",
        "the organization's agent": "alice manuel root",
        "an agent abroad": "oscar root",
        "a job in the hall": "alice edda manuel root vera",
        "a job in the yard": "alice manuel root tom",
        "the press": "alice edda root vera",
        "the lathe": "alice root tom",
    }
    # And the stream cannot disagree with the pages.
    policies = {
        JobRun: (run_policy, "view"),
        Agent: (agent_policy, "view"),
        Job: (job_policy, "view"),
        Target: (target_policy, "inspect"),
    }
    for title, thing in things.items():
        policy, action = policies[type(thing)]
        allowed = [
            name
            for name, user in everyone.items()
            if policy.allows(User.objects.get(pk=user.pk), action, thing)
        ]
        assert table[title] == " ".join(sorted(allowed)), title


def test_a_message_says_what_happened_to_what_and_whether_it_is_ones_own(
    live: LiveProcess, edda: User, vera: User, job: Job
) -> None:
    run = factories.run(job, by=edda)
    own, other = live.page(edda), live.page(vera)
    event = goes_on(run)
    event.refresh_from_db()
    expected = {
        "kind": "run.running",
        "id": str(run.public_id),
        "job": str(job.public_id),
        "mine": True,
        "at": event.at.isoformat(),
    }
    assert own.message() == ("run.running", expected)
    assert other.message() == ("run.running", expected | {"mine": False})


def test_a_stream_may_be_about_one_organization(
    live: LiveProcess, alice: User, root: User, works: Organization, elsewhere: Organization
) -> None:
    factories.Membership.objects.create(organization=elsewhere, user=alice, role="administrator")
    for user in (alice, root):
        about_one = live.page(user, f"?organization={elsewhere.public_id}")
        events.record("run.running", uuid4(), organization=works)
        events.record("run.failed", uuid4(), organization=elsewhere)
        assert [kind for kind, _ in about_one.until("run.failed")] == []


@pytest.mark.parametrize("which", ["foreign", "unknown", "nonsense"])
def test_an_organization_that_one_is_not_in_is_not_found(
    live: LiveProcess, alice: User, elsewhere: Organization, which: str
) -> None:
    value = {"foreign": elsewhere.public_id, "unknown": uuid4(), "nonsense": "x'--"}[which]
    answer = live.get(
        f"/live/events?organization={value}",
        Authorization=f"Bearer {factories.access_token(alice)}",
    )
    assert answer.raw.status == 404
    assert b'"not_found"' in answer.raw.read()


def test_who_is_refused_at_the_door(
    live: LiveProcess, alice: User, agent: factories.Enrolled, works: Organization
) -> None:
    person, machine = factories.access_token(alice), agent.api.token
    forged, _ = tokens.make("agent", agent.agent.public_id)
    retired = factories.enrolled(works, "old", by=alice)
    Agent.objects.filter(pk=retired.agent.pk).update(retired_at="2026-01-01T00:00Z")
    Event.objects.all().delete()
    cases = [
        ("GET", "/live/agent", {}, 401),
        ("GET", "/live/agent", {"Authorization": f"Bearer {person}"}, 401),
        ("GET", "/live/agent", {"Authorization": f"Bearer {forged}"}, 401),
        ("GET", "/live/agent", {"Authorization": f"Bearer {retired.api.token}"}, 401),
        ("GET", "/live/events", {}, 401),
        ("GET", "/live/events", {"Authorization": f"Bearer {machine}"}, 401),
        ("GET", "/live/events", {"Authorization": "Basic YTpi"}, 401),
        ("GET", "/live/events", {"Cookie": "sessionid=nothing"}, 401),
        ("GET", "/live/events", {"Cookie": 'a="\\x00"; sessionid='}, 401),
        ("GET", "/live/events", {"Host": "evil.example"}, 400),
        ("POST", "/live/events", {}, 405),
        ("GET", "/live/", {}, 404),
        ("GET", "/live/agent/", {}, 404),
        ("GET", "/jobs", {}, 404),
    ]
    for method, path, headers, status in cases:
        answer = live.get(path, method=method, **headers)
        body = answer.raw.read()
        assert answer.raw.status == status, (method, path, headers, body)
        assert answer.raw.headers["Content-Type"] == "application/problem+json"
        assert (answer.raw.headers["WWW-Authenticate"] == "Bearer") == (status == 401)
    # And who is let in.
    assert live.agent(machine).line() == ": ok"
    token = live.get("/live/events", Authorization=f"Bearer {person}")
    assert (token.raw.status, token.line()) == (200, ": ok")
    assert token.raw.headers["Cache-Control"] == "no-cache"
    assert token.raw.headers["X-Accel-Buffering"] == "no"
    assert "Traceback" not in "".join(live.output)


def test_a_session_ends_with_the_account_and_with_the_password(
    live: LiveProcess, alice: User, vera: User
) -> None:
    for user, change in ((alice, {"is_active": False}), (vera, {"password": "!"})):
        cookie = session_cookie(user)
        assert live.get("/live/events", Cookie=cookie).raw.status == 200
        User.objects.filter(pk=user.pk).update(**change)
        assert live.get("/live/events", Cookie=cookie).raw.status == 401


def test_a_change_of_access_ends_the_streams_of_that_person_alone(
    live: LiveProcess, works: Organization, vera: User, edda: User, hall: Site, yard: Site
) -> None:
    hers, also_hers, other = live.page(vera), live.page(vera), live.page(edda)
    set_role(vera, "viewer", on=yard)
    for page in (hers, also_hers):
        assert page.message() == ("bye", {})
        assert page.message() is None
    assert live.endings(2, user_id=vera.pk) == ["access_changed"] * 2
    # She comes back with her new set.
    again = live.page(vera)
    events.record("run.running", uuid4(), organization=works, site=yard)
    events.record("run.failed", uuid4(), organization=works, site=hall)
    assert [kind for kind, _ in again.until("run.failed")] == ["run.running"]
    assert [kind for kind, _ in other.until("run.failed")] == []


def test_progress_and_log_are_told_as_hints_to_those_who_may_see_the_run(
    live: LiveProcess,
    agent: factories.Enrolled,
    job: Job,
    edda: User,
    mia: User,
    works: Organization,
) -> None:
    run = factories.run(job, by=edda)
    (claimed,) = agent.api.claim()
    assert agent.api.move(claimed, "running").status_code == 200
    page, nobody = live.page(edda), live.page(mia)
    marker(edda, works)  # once this is read, the run has been looked at
    page.until("run.marker")
    number = Event.objects.count()
    beat = {
        "id": str(run.public_id),
        "attempt": claimed["attempt"],
        "claim_id": claimed["claim_id"],
        "progress": 40,
    }
    assert agent.api.post("heartbeat", {"runs": [beat]}).status_code == 200
    kind, data = page.message() or ("", {})
    assert (kind, data["id"], data["mine"]) == ("run.progress", str(run.public_id), True)
    log = agent.api.post(agent.api.of(claimed, "log"), {"offset": 0, "text": "Reading …\n"})
    assert log.status_code == 200
    kind, data = page.message() or ("", {})
    assert (kind, data["job"]) == ("run.log", str(job.public_id))
    assert Event.objects.count() == number
    marker(mia, works)
    assert nobody.until("run.marker") == []


def test_comments_come_while_nothing_happens_and_the_stream_ends(
    agent: factories.Enrolled, vera: User
) -> None:
    with live_process(comment_s=0.3, end_s=3) as live:
        for stream in (live.agent(agent.api.token), live.page(vera)):
            text = stream.rest()  # to its end
            assert text.startswith(": ok\n\n")
            assert text.count(":\n\n") >= 1
            assert "event" not in text
        live.process.terminate()
        live.ended()
        assert [line["ended"] for line in live.connections()] == ["time_over"] * 2


def test_a_process_that_is_told_to_stop_ends_its_streams_and_is_gone(
    agent: factories.Enrolled, vera: User
) -> None:
    with live_process() as live:
        streams = [live.agent(agent.api.token), live.page(vera), live.page(vera)]
        live.process.send_signal(signal.SIGTERM)
        for stream in streams:
            stream.rest()  # ends as an answer ends, not by a broken connection
        assert live.ended() in (0, -signal.SIGTERM)
    output = "".join(live.output)
    assert "Traceback" not in output
    assert "Cancel" not in output  # nothing was still running when the time for it was over
    assert [line["ended"] for line in live.connections()] == ["stopping"] * 3


def test_the_oldest_stream_of_an_agent_ends_when_it_opens_too_many(
    live: LiveProcess,
    agent: factories.Enrolled,
) -> None:
    first, *others = [live.agent(agent.api.token) for _ in range(5)]
    assert first.rest() == ": ok\n\n"
    assert all(other.line() == ": ok" for other in others)
    live.hang_up()
    said = live.endings(5, agent_id=str(agent.agent.public_id))
    assert said == ["replaced", *["left"] * 4]


@pytest.mark.postgres
def test_what_a_transaction_commits_late_is_told(
    live: LiveProcess, alice: User, works: Organization
) -> None:
    early, late = uuid4(), uuid4()
    other = connections.create_connection("default")
    other.set_autocommit(False)
    try:
        page = live.page(alice)
        with other.cursor() as cursor:
            cursor.execute(
                "INSERT INTO sites_event (organization_id, kind, subject_id, data)"
                " VALUES (%s, 'run.running', %s, '{}')",
                [works.pk, late],
            )
        events.record("run.running", early, organization=works)
        first = page.message()
        other.commit()
        second = page.message()
    finally:
        other.close()
    assert first
    assert second
    assert [first[1]["id"], second[1]["id"]] == [str(early), str(late)]
    assert Event.objects.get(subject_id=late).pk < Event.objects.get(subject_id=early).pk


@pytest.mark.postgres
def test_a_cut_database_connection_is_survived_and_pages_are_told_to_fetch_anew(
    alice: User, works: Organization
) -> None:
    with live_process() as live:
        page = live.page(alice)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert page.message() == ("resync", {})
        events.record("run.running", uuid4(), organization=works)
        assert (page.message() or [""])[0] == "run.running"
        # The threads that let people in had their connections cut too.
        for _ in range(5):
            assert live.page(alice).line() == ": ok"


def test_one_port_serves_the_portal_and_the_live_connections(vera: User) -> None:
    with live_process("application") as live:
        page = live.page(vera)
        assert page.line() == ": ok"
        portal = live.get("/accounts/login/")
        assert portal.raw.status == 200
        assert b"csrfmiddlewaretoken" in portal.raw.read()
        assert live.get("/live/nothing").raw.status == 404
