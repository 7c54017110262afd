"""How waiting agents hear that there is work: one is woken, then two more, then four."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents import enrolment
from agents.enrolment import retire
from agents.models import Function
from config.live.streams import RESYNC, WAITING_MESSAGES, Stream
from jobs.definitions import pause, resume
from jobs.models import Job
from sites.models import Organization, Pausable, Site, Target, User
from sites.places import pause_site, resume_site
from tests import factories
from tests.waiting import PATIENCE_S

from .live_process import Answer, LiveProcess, live_process

pytestmark = pytest.mark.once

HINT: tuple[str, dict[str, str]] = ("work", {})


@pytest.fixture
def eight(works: Organization, hall: Site, alice: User) -> list[factories.Enrolled]:
    """Eight agents of the hall that can do the same."""
    return [factories.enrolled(works, f"agent-{n}", site=hall, by=alice) for n in range(8)]


@pytest.fixture
def waiting_job(eight: list[factories.Enrolled], press: Target, edda: User) -> Job:
    """A job that each of the eight may carry out, with a queue that they know when they connect."""
    made = factories.job(press, Function.objects.get(name="backup"), owner=edda)
    run = factories.run(made, by=edda)
    (claimed,) = eight[0].api.claim()
    eight[0].api.move(claimed, "running")
    eight[0].api.finish(claimed, "failed")
    run.refresh_from_db()
    assert run.status == "failed"
    return made


def hints_after(live: LiveProcess, streams: list[Answer], comments: int) -> list[int]:
    """Let the process's own clock write so many comments, then stop it and count the hints."""
    text, seen = "", 0
    while seen < comments:
        line = streams[0].raw.readline().decode()
        assert line, text
        text, seen = text + line, seen + (line == ":\n")
    live.process.terminate()
    texts = [text + streams[0].rest(), *(stream.rest() for stream in streams[1:])]
    return [each.count("event: work") for each in texts]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_nobody_takes_wakes_one_then_two_more_then_four(
    eight: list[factories.Enrolled], waiting_job: Job, edda: User
) -> None:
    with live_process(again_s=0.2, comment_s=0.5) as live:
        streams = [live.agent(each.api.token) for each in eight]
        factories.run(waiting_job, by=edda)
        assert sorted(hints_after(live, streams, 6)) == [0, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_taken_wakes_one_and_the_next_run_another(
    eight: list[factories.Enrolled], waiting_job: Job, edda: User
) -> None:
    with live_process(again_s=0.5, comment_s=0.5) as live:
        streams = [live.agent(each.api.token) for each in eight]
        for each in eight[:2]:
            factories.run(waiting_job, by=edda)
            (claimed,) = each.api.claim()
            each.api.move(claimed, "running")
            each.api.finish(claimed, "failed")
        assert hints_after(live, streams, 6) == [1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.django_db(transaction=True)
def test_work_that_waited_before_the_agent_came_is_told_at_once(
    agent: factories.Enrolled, job: Job, edda: User
) -> None:
    factories.run(job, by=edda)
    with live_process() as live:
        assert live.agent(agent.api.token).message() == HINT


@pytest.mark.django_db(transaction=True)
def test_who_waits_is_woken_when_a_pause_is_ended(
    agent: factories.Enrolled, job: Job, hall: Site, alice: User
) -> None:
    until = timezone.now() + timedelta(hours=1)
    rules: list[tuple[Any, Any, Pausable]] = [
        (pause, resume, job),
        (pause_site, resume_site, hall),
        (enrolment.pause, enrolment.resume, agent.agent),
    ]
    for begin, end, paused in rules:
        begin(paused, until=until, reason="Oil", by=alice)
        run = factories.run(job, by=alice)
        assert agent.api.claim() == []
        with live_process() as live:
            stream = live.agent(agent.api.token)
            # What waited when it came: it cannot be taken yet.
            assert stream.message() == HINT
            end(paused)
            assert stream.message() == HINT
        [claimed] = agent.api.claim()
        assert claimed["id"] == str(run.public_id)
        agent.api.move(claimed, "running")
        agent.api.finish(claimed, "failed")


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_is_made_while_agents_wait_reaches_those_who_take_from_it(
    works: Organization,
    hall: Site,
    yard: Site,
    agent: factories.Enrolled,
    job: Job,
    alice: User,
    edda: User,
) -> None:
    rover = factories.enrolled(works, "rover", by=alice)
    other = factories.enrolled(works, "yard-agent", site=yard, by=alice)
    with live_process(again_s=0.2, comment_s=0.5) as live:
        streams = [live.agent(each.api.token) for each in (rover, agent, other)]
        factories.run(job, by=edda)  # the first in its queue
        assert hints_after(live, streams, 4)[2] == 0
        # Of the two that may take it, each was woken at least once by the second round.
    with live_process(again_s=0.2) as live:
        streams = [live.agent(each.api.token) for each in (rover, agent)]
        factories.run(
            factories.job(job.target, Function.objects.get(name="list"), owner=edda), by=edda
        )
        assert [stream.message() for stream in streams] == [HINT, HINT]


def who(line: dict[str, Any]) -> Any:
    """Whom a line of the log names, in the one way that it has."""
    (key,) = {"agent_id", "user_id", "address"} & line.keys()
    return line[key]


@pytest.mark.django_db(transaction=True)
def test_an_agent_that_is_retired_loses_its_stream_and_the_log_says_who_came_and_went(
    agent: factories.Enrolled, alice: User, vera: User
) -> None:
    # What the proxy adds stands at the end of the header; before it stands what the client says.
    proxied, forged = "198.51.100.7, 203.0.113.9", "198.51.100.7, nobody"
    with live_process(proxies=1) as live:
        stream = live.agent(agent.api.token)
        live.page(vera, "?token=hunter22")
        retire(agent.agent, by=alice)
        assert stream.rest() == ": ok\n\n"
        bearer = f"Bearer {agent.api.token}"
        again = live.get("/live/agent", Authorization=bearer, **{"X-Forwarded-For": proxied})
        assert again.raw.status == 401
        assert live.get("/live/hunter22", **{"X-Forwarded-For": forged}).raw.status == 404
        # Hers is open when the process is stopped.
        live.process.terminate()
        live.ended()
    said = live.connections()
    assert all(0 <= line["seconds"] < PATIENCE_S for line in said)
    assert sorted((line["route"], line["status"], line["ended"], who(line)) for line in said) == [
        ("", 404, "refused", "127.0.0.1"),
        ("/live/agent", 200, "retired", str(agent.agent.public_id)),
        ("/live/agent", 401, "refused", "203.0.113.9"),
        ("/live/events", 200, "stopping", vera.pk),
    ]
    for secret in ("hunter22", agent.api.token):
        assert secret not in "".join(live.output)


def test_a_client_that_does_not_read_keeps_a_bounded_number_of_messages_and_is_cut_off() -> None:
    async def story() -> tuple[list[bytes], str]:
        sent: list[bytes] = []
        reads = asyncio.Event()

        async def send(message):
            if message["type"] == "http.response.body":
                sent.append(message["body"])
                await reads.wait()

        async def receive():
            await asyncio.Event().wait()

        stream = Stream(send, ends_at=0)
        serving = asyncio.create_task(stream.serve(receive, b"ok"))
        while not sent:
            await asyncio.sleep(0)
        for number in range(WAITING_MESSAGES + 3):
            stream.write(b"%d " % number)
        reads.set()
        while len(sent) < 2:
            await asyncio.sleep(0)
        reads.clear()
        stream.end(b"bye", why="time_over", now=0)
        while len(sent) < 3:
            await asyncio.sleep(0)
        stream.cut_off()
        await serving
        return sent, stream.why

    newest = b"".join(b"%d " % n for n in range(WAITING_MESSAGES, WAITING_MESSAGES + 3))
    assert asyncio.run(story()) == ([b"ok", RESYNC + newest, b"bye"], "stalled")
