"""Which agent gets which run, when, and what a claim that is sent again is answered."""

from __future__ import annotations

import uuid
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F

from agents import enrolment
from agents.models import AgentPool, Function
from jobs import sweeps, transitions
from jobs.models import Claim, JobRun, StatusTransition
from jobs.starts import start_function
from sites.models import Event
from tests import factories
from tests.invariants import check_runs
from tests.jobs.passing import lease_over

pytestmark = pytest.mark.django_db


def test_a_claim_gives_all_that_the_work_needs(agent, job, press, edda):
    job.parameters = {"exclude": ["*.tmp"], "password": "geheim-123"}
    job.run_timeout_s = 900
    job.save()
    made = factories.run(job, by=edda)
    claim_id = uuid4()
    [run] = agent.api.claim(claim_id=claim_id)
    assert run == {
        "id": str(made.public_id),
        "attempt": 1,
        "claim_id": str(claim_id),
        "status": "claimed",
        "lease_s": 60,
        "run_timeout_s": 900,
        "tool": "folder",
        "function": "backup",
        "version": "1.0",
        "target": {
            "id": str(press.public_id),
            "name": "Press line 1",
            "kind": press.kind,
            "address": "10.20.4.11",
            "settings": {},
        },
        "parameters": {"exclude": ["*.tmp"], "password": "geheim-123"},
        "credentials": {},
        "base_tree": None,
        "inputs": [],
    }
    made.refresh_from_db()
    assert made.agent == agent.agent
    assert made.lease_until - StatusTransition.objects.filter(run=made).latest(
        "sequence"
    ).at == pytest.approx(timedelta(seconds=60), abs=timedelta(seconds=5))
    # Not begun: neither the time limit nor the start counts yet.
    assert (made.started_at, made.deadline_at) == (None, None)
    check_runs()


def test_nothing_to_do_is_204_and_stores_nothing(agent):
    answer = agent.api.post("claims", {"claim_id": str(uuid4()), "max": 5})
    assert (answer.status_code, answer.content) == (204, b"")
    assert not Claim.objects.exists()
    assert not Event.objects.filter(kind__startswith="run.").exists()


WHO_GETS = {
    "automatic": {"hall", "wide"},
    "agent hall": {"hall"},
    "agent wide": {"wide"},
    "pool of wide": {"wide"},
    "pool of yard and hall": {"hall"},
    "empty pool": set(),
}


@pytest.mark.parametrize("assignment", WHO_GETS)
def test_an_agent_gets_runs_of_its_site_and_assignment_only(
    works, elsewhere, hall, yard, press, alice, oscar, edda, assignment
):
    """Rules 5 and 12, domain rule 8: each agent is asked for the same kind of run in turn."""
    far = factories.site(elsewhere, "Quay")
    agents = {
        "hall": factories.enrolled(works, "hall", site=hall, by=alice),
        "yard": factories.enrolled(works, "yard", site=yard, by=alice),
        "wide": factories.enrolled(works, "wide", by=alice),
        "far": factories.enrolled(elsewhere, "far", site=far, by=oscar),
        "far and wide": factories.enrolled(elsewhere, "far and wide", by=oscar),
    }
    function = Function.objects.get(organization=works, name="list")
    kind, _, names = assignment.partition(" ")
    more = {"assignment": kind}
    if kind == "agent":
        more["agent"] = agents[names].agent
    elif kind != "automatic":
        pool = AgentPool.objects.create(organization=works, name=assignment)
        pool.agents.set(agents[name].agent for name in agents if name in names.split())
        more |= {"assignment": "pool", "pool": pool}
    got = set()
    for name, one in agents.items():
        made = start_function(press, function, by=alice, **more)
        assert made.requested_agent == more.get("agent")
        if taken := one.api.claim(8):
            assert [run["id"] for run in taken] == [str(made.public_id)]
            one.api.move(taken[0], "running")
            assert one.api.finish(taken[0]).status_code == 200
            got.add(name)
        else:
            transitions.cancel(made, by=alice)
    assert got == WHO_GETS[assignment]
    check_runs(all_final=True)


@pytest.mark.parametrize(
    ("asked", "old", "new"), [("", True, True), ("1.0", True, False), ("2.0", False, True)]
)
def test_an_agent_gets_versions_that_it_advertises(works, hall, press, alice, asked, old, new):
    newer = factories.FOLDER | {"version": "2.0"}
    agents = {
        "1.0": factories.enrolled(works, "old", site=hall, by=alice),
        "2.0": factories.enrolled(works, "new", site=hall, by=alice, tools=[newer]),
    }
    function = Function.objects.get(name="list")
    for version, takes in (("1.0", old), ("2.0", new)):
        made = start_function(press, function, by=alice, version=asked)
        taken = agents[version].api.claim(8)
        assert [run["version"] for run in taken] == ([version] if takes else [])
        if taken:
            agents[version].api.finish(taken[0], "failed")
        else:
            transitions.cancel(made, by=alice)


def test_a_function_that_is_not_advertised_any_more_waits(agent, press, listing, edda):
    start_function(press, listing, by=edda)
    hello = {"version": "2", "platform": "", "tools": []}
    assert agent.api.post("hello", hello).json()["queues"] == []
    assert agent.api.claim(8) == []
    assert len(agent.api.post("hello", hello | {"tools": [factories.FOLDER]}).json()["queues"]) == 1
    assert len(agent.api.claim(8)) == 1


def test_one_at_a_time_on_a_target_and_function(
    works, agent, hall, press, listing, backup, alice, edda
):
    first, second = (start_function(press, listing, by=edda) for _ in range(2))
    other_function = start_function(press, backup, by=edda)
    other_target = start_function(factories.target(hall, "Press line 2"), listing, by=edda)
    taken = agent.api.claim(8)
    assert {run["id"] for run in taken} == {
        str(run.public_id) for run in (first, other_function, other_target)
    }
    rival = factories.enrolled(works, "rival", site=hall, by=alice)
    assert rival.api.claim(8) == []
    assert agent.api.claim(8) == []
    [holding] = [run for run in taken if run["id"] == str(first.public_id)]
    for status in ("running", "validating", "uploading"):
        agent.api.move(holding, status)
        assert rival.api.claim(8) == []
    agent.api.finish(holding)
    [next_one] = rival.api.claim(8)
    assert next_one["id"] == str(second.public_id)
    check_runs()


def test_a_job_that_allows_overlap_does_not_wait(agent, job, press, backup, edda):
    job.overlap = "allow"
    job.save()
    made = {str(factories.run(job, by=edda).public_id) for _ in range(3)}
    assert len(made) == 3
    assert {run["id"] for run in agent.api.claim(8)} == made
    # One that does not allow it is held up by its own kind only.
    alone = start_function(press, backup, by=edda)
    assert [run["id"] for run in agent.api.claim(8)] == [str(alone.public_id)]


def test_the_slots_are_the_limit_of_what_an_agent_holds(works, hall, alice, edda):
    small = factories.enrolled(works, "small", site=hall, by=alice, slots=2)
    listing = Function.objects.get(name="list")
    for number in range(5):
        start_function(factories.target(hall, f"Line {number}"), listing, by=edda)
    one = small.api.claim(1)
    assert len(one) == 1
    more = small.api.claim(64)
    assert len(more) == 1
    assert small.api.claim(64) == []
    small.api.finish(one[0], "failed")
    assert len(small.api.claim(64)) == 1


def test_a_draining_agent_gets_nothing_new_and_keeps_what_it_has(agent, press, listing, edda):
    start_function(press, listing, by=edda)
    claim_id = uuid4()
    [held] = agent.api.claim(claim_id=claim_id)
    enrolment.drain(agent.agent, on=True)
    start_function(factories.target(press.site, "Press line 2"), listing, by=edda)
    assert agent.api.claim(8) == []
    assert agent.api.post("heartbeat", {"runs": []}).json()["drain"] is True
    assert [run["id"] for run in agent.api.claim(claim_id=claim_id)] == [held["id"]]
    assert agent.api.move(held, "running").status_code == 200
    assert agent.api.finish(held).status_code == 200
    enrolment.drain(agent.agent, on=False)
    assert len(agent.api.claim(8)) == 1


def test_a_retired_agent_gets_nothing(agent, press, listing, alice, edda):
    start_function(press, listing, by=edda)
    enrolment.retire(agent.agent, by=alice)
    answer = agent.api.post("claims", {"claim_id": str(uuid4()), "max": 1})
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert not Claim.objects.exists()


def test_the_oldest_goes_first_within_its_priority(agent, hall, listing, edda):
    made = [
        start_function(factories.target(hall, f"Line {number}"), listing, by=edda)
        for number in range(5)
    ]
    # In the order in which they are to be given: urgent, then by age; the fifth is aged below.
    wanted = [made[3], made[4], made[0], made[1], made[2]]
    JobRun.objects.filter(pk=made[3].pk).update(priority=-1)
    JobRun.objects.filter(pk=made[4].pk).update(created_at=F("created_at") - timedelta(hours=1))
    JobRun.objects.filter(pk=made[2].pk).update(priority=1)
    assert [run["id"] for run in agent.api.claim(2)] == [str(run.public_id) for run in wanted[:2]]
    assert [run["id"] for run in agent.api.claim(8)] == [str(run.public_id) for run in wanted[2:]]


def test_the_order_holds_across_queues(works, agent, hall, listing, backup, edda):
    """Runs of several functions and assignments wait in several queues and one order."""
    wanted = [
        str(
            start_function(
                factories.target(hall, f"Line {number}"),
                function,
                by=edda,
                assignment="agent" if number % 2 else "automatic",
                agent=agent.agent if number % 2 else None,
            ).public_id
        )
        for number, function in enumerate([listing, listing, backup, backup, listing, backup])
    ]
    assert [agent.api.claim(1)[0]["id"] for _ in wanted] == wanted


# --- the same claim again ------------------------------------------------------------------------


def test_the_same_claim_gives_the_same_runs_and_attempts(agent, hall, listing, edda):
    for number in range(3):
        start_function(factories.target(hall, f"Line {number}"), listing, by=edda)
    claim_id = uuid4()
    first = agent.api.claim(2, claim_id=claim_id)
    assert len(first) == 2
    before = StatusTransition.objects.count(), Event.objects.count()
    assert agent.api.claim(2, claim_id=claim_id) == first
    # Whatever the request asks for, and however many slots are free.
    assert agent.api.claim(64, claim_id=claim_id) == first
    assert (StatusTransition.objects.count(), Event.objects.count()) == before
    assert Claim.objects.count() == 1


def test_after_a_restart_the_claim_says_how_far_its_runs_are(agent, hall, listing, edda):
    for number in range(3):
        start_function(factories.target(hall, f"Line {number}"), listing, by=edda)
    claim_id = uuid4()
    runs = agent.api.claim(3, claim_id=claim_id)
    agent.api.move(runs[1], "running")
    agent.api.move(runs[2], "running")
    agent.api.finish(runs[2])
    again = agent.api.claim(3, claim_id=claim_id)
    assert [(run["id"], run["attempt"]) for run in again] == [(run["id"], 1) for run in runs]
    assert [run["status"] for run in again] == ["claimed", "running", "completed"]


def test_a_claim_is_one_agents_own(works, agent, hall, press, listing, alice, edda):
    """Two agents with the same claim id have two claims; neither sees the other's runs."""
    start_function(press, listing, by=edda)
    rival = factories.enrolled(works, "rival", site=hall, by=alice)
    claim_id = uuid4()
    assert len(agent.api.claim(claim_id=claim_id)) == 1
    assert rival.api.claim(claim_id=claim_id) == []


def test_a_claim_that_was_lost_is_stale(works, agent, hall, press, listing, alice, edda):
    start_function(press, listing, by=edda)
    claim_id = uuid4()
    [run] = agent.api.claim(claim_id=claim_id)
    lease_over(run)
    sweeps.sweep()
    body = {"claim_id": str(claim_id), "max": 1}
    for holder in ("nobody", "a later attempt", "a later attempt that has ended"):
        answer = agent.api.post("claims", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "stale_attempt"), holder
        if holder == "nobody":
            rival = factories.enrolled(works, "rival", site=hall, by=alice)
            [later] = rival.api.claim()
            assert (later["id"], later["attempt"]) == (run["id"], 2)
        else:
            rival.api.finish(later, "failed")
    assert JobRun.objects.get().attempt == 2
    check_runs(all_final=True)


def test_each_claim_of_a_lost_run_is_a_new_attempt_of_whoever_is_next(agent, press, listing, edda):
    start_function(press, listing, by=edda)
    attempts = []
    for _ in range(3):
        [run] = agent.api.claim()
        attempts.append(run["attempt"])
        lease_over(run)
        assert sweeps.sweep() == 1
    assert attempts == [1, 2, 3]
    check_runs()


def test_the_claim_id_has_to_be_a_uuid_and_max_a_sensible_number(agent):
    for body in (
        {},
        {"claim_id": "x", "max": 1},
        {"claim_id": str(uuid.uuid4()), "max": 0},
        {"claim_id": str(uuid.uuid4()), "max": -1},
        {"claim_id": str(uuid.uuid4()), "max": 65},
        {"claim_id": str(uuid.uuid4()), "max": None},
    ):
        answer = agent.api.post("claims", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), body
