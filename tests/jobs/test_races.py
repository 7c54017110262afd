"""What holds when many do the same at once: real processes, real connections, both databases."""

from __future__ import annotations

import collections
import contextlib
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import F

from agents import enrolment
from agents.models import Agent, Function, Queue
from jobs import sweeps, transitions
from jobs.models import (
    Job,
    JobRun,
    LateReport,
    StatusTransition,
)
from jobs.starts import start_function, start_run
from jobs.states import Status
from sites.models import Event, Organization, Site, User
from sites.problems import Refused
from tests import databases, factories
from tests.invariants import check_runs
from tests.jobs.passing import lease_over
from tests.waiting import PATIENCE_S, until
from tests.web import WebAgent, at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

ROUNDS = 1000


def web(one: factories.Enrolled, port: int) -> WebAgent:
    return WebAgent(one.api.token, port)


def running(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an agent says of many at once when it begins with them."""
    return [
        {name: run[name] for name in ("id", "attempt", "claim_id")} | {"status": "running"}
        for run in runs
    ]


def test_64_claimers_take_1000_runs_of_50_targets(works, hall, alice, port):
    """Rule 5: one holder per run and attempt, never two on one target and function, no 5xx."""
    with transaction.atomic():
        agents = [
            factories.enrolled(works, f"agent {number}", site=hall, by=alice, slots=4)
            for number in range(64)
        ]
        listing = Function.objects.get(name="list")
        jobs = [
            factories.job(factories.target(hall, f"Line {number}"), listing, owner=alice)
            for number in range(50)
        ]
        factories.runs(jobs * 20, by=alice)
    busy: dict[str, str] = {}
    taken: collections.Counter[tuple[str, int]] = collections.Counter()
    answers: collections.Counter[tuple[str, int]] = collections.Counter()
    lock = threading.Lock()
    left = 1000

    def work(one: factories.Enrolled) -> None:
        nonlocal left
        api = web(one, port)
        until = time.monotonic() + 4 * PATIENCE_S
        idle = 0.02
        while left > 0 and time.monotonic() < until:
            answer = api.post("claims", {"claim_id": str(uuid4()), "max": 4})
            with lock:
                answers["claim", answer.status_code] += 1
            runs = answer.json()["runs"] if answer.status_code == 200 else []
            for run in runs:
                with lock:
                    taken[run["id"], run["attempt"]] += 1
                    # The one that had this target has its result acknowledged only after the
                    # portal freed the target, so a name may still stand here: it is checked
                    # against the histories below.
                    busy[run["target"]["id"]] = run["id"]
            for run in runs:
                for said in (api.move(run, "running"), api.finish(run)):
                    with lock:
                        answers["work", said.status_code] += 1
                with lock:
                    left -= 1
            # As agents do: who found nothing waits, and longer each time.
            idle = 0.02 if runs else min(idle * 2, 0.6)
            if not runs:
                time.sleep(idle)

    at_once([partial(work, one) for one in agents])
    assert left == 0
    assert len(busy) == 50
    assert set(answers) <= {("claim", 200), ("claim", 204), ("work", 200)}, answers
    assert answers["work", 200] == 2000
    assert len(taken) == 1000
    assert set(taken.values()) == {1}
    assert {attempt for _, attempt in taken} == {1}
    assert check_runs(all_final=True) == 1000
    assert not JobRun.objects.exclude(status="completed").exists()


def test_cancel_against_claim_1000_rounds(works, hall, alice, edda, port):
    """Domain rule 1: exactly one of them wins each time."""
    lanes = 4
    rounds = ROUNDS // lanes
    made: list[tuple[factories.Enrolled, list[JobRun], Queue]] = []
    with transaction.atomic():
        for number in range(lanes):
            one = factories.enrolled(works, f"agent {number}", site=hall, by=alice, slots=64)
            listing = Function.objects.get(name="list")
            job = factories.job(
                factories.target(hall, f"Line {number}"),
                listing,
                owner=edda,
                overlap="allow",
                assignment="agent",
                agent=one.agent,
            )
            runs = factories.runs([job] * rounds, by=edda)
            assert runs[0].queue is not None
            made.append((one, runs, runs[0].queue))
    # Each waits out of sight until its round.
    JobRun.objects.update(queue=None)
    won: collections.Counter[str] = collections.Counter()

    def lane(one: factories.Enrolled, runs: list[JobRun], queue: Queue) -> list[tuple[bool, bool]]:
        api = web(one, port)
        found = []
        held = 0
        delay = 0.0
        start = threading.Barrier(2)
        canceled: list[bool] = []

        def cancel_all() -> None:
            try:
                for run in runs:
                    start.wait(PATIENCE_S)
                    time.sleep(delay)
                    try:
                        transitions.cancel(run, by=edda)
                        canceled.append(True)
                    except Refused as refused:
                        if refused.code != "not_pending":
                            raise
                        canceled.append(False)
                    start.wait(PATIENCE_S)
            finally:
                connection.close()

        rival = threading.Thread(target=cancel_all, daemon=True)
        rival.start()
        for run in runs:
            JobRun.objects.filter(pk=run.pk).update(queue=queue)
            start.wait(PATIENCE_S)
            taken = api.claim()
            start.wait(PATIENCE_S)
            assert [one["id"] for one in taken] in ([], [str(run.public_id)])
            found.append((bool(taken), canceled[-1]))
            # The loser gets a head start next time, so that it is close every time.
            delay = min(0.05, delay * 1.2 + 0.0005) if canceled[-1] else delay * 0.8
            held += len(taken)
            if held == 64:
                with transaction.atomic():
                    transitions.revoke(one.agent, alice)
                held = 0
        rival.join()
        return found

    results = at_once([partial(lane, *lane_of) for lane_of in made])
    for taken, canceled in itertools.chain(*results):
        assert taken != canceled
        won["claim" if taken else "cancel"] += 1
    assert sum(won.values()) == lanes * rounds
    assert min(won["claim"], won["cancel"]) > 0, won
    assert check_runs() == lanes * rounds
    assert JobRun.objects.filter(status="canceled").count() == won["cancel"]


def test_completion_against_time_out_1000_rounds(works, hall, alice, port, monkeypatch):
    """One final state each, the one that was acknowledged; a late report is kept, once."""
    monkeypatch.setattr(sweeps, "BATCH", 3)
    agents = [
        factories.enrolled(works, f"agent {number}", site=hall, by=alice, slots=64)
        for number in range(4)
    ]
    listing = Function.objects.get(name="list")
    jobs = [
        factories.job(factories.target(hall, f"Line {number}"), listing, owner=alice)
        for number in range(100)
    ]
    apis = [web(one, port) for one in agents]
    answers: dict[int, set[UUID]] = {200: set(), 409: set()}
    for _ in range(ROUNDS // 100):
        factories.runs(jobs, by=alice)
        held = [api.claim(25) for api in apis]
        assert sum(map(len, held)) == 100
        with transaction.atomic():
            for one, runs in zip(agents, held, strict=True):
                assert one.api.patch("runs", {"runs": running(runs)}).status_code == 200
                for run in runs:
                    # Longer ago than the brake waits where all agents are silent at once.
                    lease_over(run, seconds=90)
        done = threading.Event()

        def report(api: WebAgent, runs: list[dict[str, Any]]) -> None:
            for run in runs:
                answers[api.finish(run).status_code].add(UUID(run["id"]))

        def sweep(done: threading.Event = done) -> None:
            while not done.is_set():
                sweeps.sweep()
                time.sleep(0.002)

        def report_all(
            api: WebAgent, runs: list[dict[str, Any]], done: threading.Event = done
        ) -> None:
            try:
                report(api, runs)
            finally:
                done.set()

        at_once(
            [
                *[
                    lambda a=api, r=runs: report_all(a, r)
                    for api, runs in zip(apis, held, strict=True)
                ],
                sweep,
                sweep,
            ]
        )
        sweeps.sweep()
    completed = set(JobRun.objects.filter(status="completed").values_list("public_id", flat=True))
    lost = JobRun.objects.filter(status="timed_out", reason="agent_lost", report_hash="", result="")
    timed_out = set(lost.values_list("public_id", flat=True))
    assert (answers[200], answers[409]) == (completed, timed_out)
    assert min(len(completed), len(timed_out)) > 0, "one of them was never beaten"
    assert check_runs(all_final=True) == ROUNDS
    assert set(LateReport.objects.values_list("run__public_id", flat=True)) == timed_out


def test_five_sweeps_at_once_move_each_run_once(works, hall, agent, alice):
    listing = Function.objects.get(name="list")
    with transaction.atomic():
        for number in range(60):
            start_function(factories.target(hall, f"Line {number}"), listing, by=alice)
    Agent.objects.update(slots=60)
    with transaction.atomic():
        for run in agent.api.claim(60):
            lease_over(run)
    assert sum(at_once([sweeps.sweep] * 5)) == 60
    assert JobRun.objects.filter(status="pending", lease_losses=1).count() == 60
    assert check_runs() == 60


def test_two_presses_at_once_start_one_run(job, edda):
    started = at_once([lambda: start_run(job, by=edda)] * 5)
    assert sum(one.created for one in started) == 1
    assert len({one.run.pk for one in started}) == 1
    assert JobRun.objects.filter(attempt=F("attempt")).count() == check_runs() == 1


def test_a_move_that_waited_for_another_knows_where_it_came_from(works, hall, alice, port):
    """Retiring ends what an agent holds, also what it is moving at this very moment (I4)."""
    one = factories.enrolled(works, "one", site=hall, by=alice)
    start_function(factories.target(hall, "Line 1"), Function.objects.get(name="list"), by=alice)
    api = web(one, port)
    [run] = api.claim()
    api.move(run, "running")
    moved, asked = threading.Event(), threading.Event()

    def move() -> None:
        with transaction.atomic():
            transitions.report_status(
                one.agent,
                UUID(run["id"]),
                attempt=1,
                claim_id=UUID(run["claim_id"]),
                to=Status.VALIDATING,
            )
            moved.set()
            asked.wait(PATIENCE_S)
            # The other one is at the row by now, or comes to it later: both ways must be right.
            time.sleep(0.3)

    def retire() -> None:
        moved.wait(PATIENCE_S)
        asked.set()
        enrolment.retire(one.agent, by=alice)

    at_once([move, retire])
    assert check_runs(all_final=True) == 1
    steps = StatusTransition.objects.values_list("from_status", "to_status")
    assert list(steps)[-2:] == [("running", "validating"), ("validating", "failed")]


def test_batches_against_each_other(works, hall, alice, port):
    """Many moves and results in one request, sent five times at once, in two orders."""
    one = factories.enrolled(works, "one", site=hall, by=alice, slots=64)
    listing = Function.objects.get(name="list")
    with transaction.atomic():
        for number in range(60):
            start_function(factories.target(hall, f"Line {number}"), listing, by=alice)
    runs = web(one, port).claim(60)
    assert len(runs) == 60
    ending = [
        {"id": run["id"], "attempt": 1, "status": "completed", "message": "Done."} for run in runs
    ]
    senders = [web(one, port) for _ in range(6)]
    for method, path, name, items in (
        ("PATCH", "runs", "runs", running(runs)),
        ("PUT", "results", "results", ending),
    ):
        before = StatusTransition.objects.count(), Event.objects.count()
        answers = at_once(
            [
                partial(api.request, method, path, {name: items[:: (-1) ** turn]})
                for turn, api in enumerate(senders)
            ]
        )
        assert {answer.status_code for answer in answers} == {200}
        for answer in answers:
            assert {item["code"] for item in answer.json()[name]} == {"ok"}
        assert StatusTransition.objects.count() - before[0] == 60
        assert Event.objects.count() - before[1] == 60
    assert check_runs(all_final=True) == 60


@pytest.mark.postgres
def test_a_start_that_waited_for_its_job_sees_what_was_saved_meanwhile(
    job: Job, works: Organization, hall: Site, alice: User, edda: User
) -> None:
    """Its new owner and its new agent, by the rows as they are then."""
    second = factories.enrolled(works, "second-agent", site=hall, by=alice)
    other = connection.copy()
    with contextlib.closing(other), ThreadPoolExecutor(1) as pool:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                "UPDATE jobs_job SET owner_id = %s, assignment = 'agent', agent_id = %s"
                " WHERE id = %s",
                [alice.pk, second.agent.pk, job.pk],
            )
        started = pool.submit(_started, job, edda)
        until(databases.one_waits_for_a_lock)
        with other.cursor() as cursor:
            cursor.execute("COMMIT")
        run = started.result()
    assert (run.requested_agent, run.started_by) == (second.agent, edda)
    assert second.api.claim()


def _started(job: Job, by: User) -> JobRun:
    try:
        return start_run(job, by=by).run
    finally:
        connection.close()
