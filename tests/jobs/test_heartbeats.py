"""What a heartbeat keeps alive, what it does not, and what an agent's silence is called."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from agents import presence
from agents.models import Agent, AgentPresence, Function
from jobs import beats, sweeps
from jobs.models import JobRun
from jobs.starts import start_function
from sites.models import Event
from tests import factories
from tests.invariants import check_runs
from tests.jobs.passing import deadline_over, lease_over

pytestmark = pytest.mark.django_db


def beat(agent, *runs, **more):
    lines = [{name: run[name] for name in ("id", "attempt", "claim_id")} | more for run in runs]
    answer = agent.api.post("heartbeat", {"runs": lines})
    assert answer.status_code == 200, answer.content
    return answer.json()


def codes(answer):
    return [line["code"] for line in answer["runs"]]


def lease_left():
    return JobRun.objects.annotate(left=F("lease_until") - Now()).get().left


def test_a_beat_keeps_the_lease(agent, held):
    lease_over(held, seconds=-5)
    answer = beat(agent, held)
    assert answer == {
        "runs": [
            {"id": held["id"], "attempt": 1, "code": "ok", "status": "running", "lease_s": 60}
        ],
        "heartbeat_s": 15,
        "lease_s": 60,
        "drain": False,
        "rotate": False,
    }
    assert timedelta(seconds=50) < lease_left() <= timedelta(seconds=60)
    assert Event.objects.filter(kind="run.running").count() == 1


def test_a_beat_keeps_a_claim_that_has_not_begun(agent, job, edda):
    factories.run(job, by=edda)
    [run] = agent.api.claim()
    lease_over(run, seconds=-5)
    assert codes(beat(agent, run)) == ["ok"]
    assert lease_left() > timedelta(seconds=50)


def test_no_lease_reaches_past_the_deadline(agent, held):
    JobRun.objects.update(deadline_at=Now() + timedelta(seconds=20))
    assert codes(beat(agent, held)) == ["ok"]
    run = JobRun.objects.get()
    assert run.lease_until == run.deadline_at


@pytest.mark.parametrize("status", ["claimed", "running", "validating", "uploading"])
def test_a_beat_revives_nothing(agent, job, edda, status):
    """Rule 15: what the sweep is about to take is not given back, and the agent is told."""
    factories.run(job, by=edda)
    [run] = agent.api.claim()
    path = ["claimed", "running", "validating", "uploading"]
    for step in path[1 : path.index(status) + 1]:
        agent.api.move(run, step)
    lease_over(run, seconds=1)
    assert codes(beat(agent, run, progress=50)) == ["stale_attempt"]
    assert lease_left() < timedelta(0)
    assert JobRun.objects.get().progress is None
    lease_over(run)
    assert sweeps.sweep() == 1
    assert codes(beat(agent, run)) == ["stale_attempt" if status == "claimed" else "already_final"]
    assert JobRun.objects.get().status == ("pending" if status == "claimed" else "timed_out")
    check_runs()


def test_each_run_has_its_own_answer(works, agent, hall, held, elsewhere, alice, oscar, edda):
    listing = Function.objects.get(organization=works, name="list")

    def another(name):
        start_function(factories.target(hall, name), listing, by=edda)
        return agent.api.claim()[0]

    ended, lost, retaken = another("ended"), another("lost"), another("retaken")
    agent.api.finish(ended, "failed")
    for run in (lost, retaken):
        lease_over(run)
        sweeps.sweep()
        if run is retaken:
            agent.api.claim()
    rival = factories.enrolled(works, "rival", site=hall, by=alice)
    start_function(factories.target(hall, "rival's"), listing, by=edda)
    [others] = [run for run in rival.api.claim(8) if run["target"]["name"] == "rival's"]
    unknown = held | {"id": str(uuid4())}
    answer = beat(
        agent,
        held,
        ended,
        lost,
        retaken,
        others,
        unknown,
        held | {"attempt": 9},
        held | {"claim_id": str(uuid4())},
        progress=30,
    )
    assert codes(answer) == [
        "ok",
        "already_final",
        "stale_attempt",
        "stale_attempt",
        "not_found",
        "not_found",
        "stale_attempt",
        "stale_attempt",
    ]
    assert [line["status"] for line in answer["runs"]][:2] == ["running", "failed"]
    progress = {str(run.public_id): run.progress for run in JobRun.objects.all()}
    assert {pk for pk, value in progress.items() if value is not None} == {held["id"]}


def test_progress_rises_and_only_then_counts_as_a_change(agent, held):
    beat(agent, held, progress=10)
    first = JobRun.objects.get()
    assert first.progress == 10
    beat(agent, held, progress=10)
    beat(agent, held, progress=5)
    beat(agent, held)
    same = JobRun.objects.get()
    assert (same.progress, same.updated_at) == (10, first.updated_at)
    assert same.lease_until > first.lease_until
    beat(agent, held, progress=11)
    risen = JobRun.objects.get()
    assert risen.progress == 11
    assert risen.updated_at > first.updated_at


def test_beats_of_many_runs_are_as_many_queries_as_of_one(
    agent, hall, held, edda, django_assert_num_queries
):
    listing = Function.objects.get(name="list")
    runs = [held]
    with django_assert_num_queries(4):
        # Who asks; the sign of life; the runs; their leases and progress.
        beat(agent, *runs, progress=1)
    for number in range(5):
        start_function(factories.target(hall, f"Line {number}"), listing, by=edda)
    runs += agent.api.claim(5)
    assert len(runs) == 6
    with django_assert_num_queries(4):
        assert codes(beat(agent, *runs, progress=2)) == ["ok"] * 6


# --- the agent itself ----------------------------------------------------------------------------


def state(agent):
    return Agent.objects.with_state().get(pk=agent.agent.pk).state


def silent(agent, seconds=61):
    AgentPresence.objects.filter(agent=agent.agent).update(
        seen_at=Now() - timedelta(seconds=seconds)
    )


def about(kind):
    return Event.objects.filter(kind=kind).count()


def test_an_idle_agent_is_alive_by_its_beats(agent):
    silent(agent)
    assert state(agent) == "disconnected"
    assert beat(agent)["runs"] == []
    assert state(agent) == "active"


def test_losing_and_regaining_an_agent_are_one_event_each(agent):
    silent(agent, 59)
    assert presence.mark_lost() == 0
    for round_number in (1, 2):
        silent(agent)
        assert presence.mark_lost() == 1
        assert presence.mark_lost() == 0
        assert about("agent.lost") == round_number
        beat(agent)
        beat(agent)
        assert about("agent.seen") == round_number
    assert presence.mark_lost() == 0
    event = Event.objects.filter(kind="agent.lost").latest("id")
    assert (event.subject_id, event.site_id, event.data) == (
        agent.agent.public_id,
        agent.agent.site_id,
        {"name": "hall-agent"},
    )


def test_a_beat_that_overtakes_the_look_for_lost_agents_wins(agent, monkeypatch):
    """The agent that was read as silent has beaten before it is marked: it is not lost."""
    silent(agent)
    real = AgentPresence.objects.filter

    def beaten_meanwhile(*args, **conditions):
        if "pk" in conditions:
            AgentPresence.objects.update(seen_at=Now())
        return real(*args, **conditions)

    monkeypatch.setattr(AgentPresence.objects, "filter", beaten_meanwhile)
    assert presence.mark_lost() == 0
    assert about("agent.lost") == 0


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_beats_touch_no_index(agent, held):
    """Rule 7: after 1,000 beats nearly every update of a run and of a presence stayed HOT."""
    one = beats.Beat(held["id"], held["attempt"], held["claim_id"])
    run = JobRun.objects.get()
    claim = beats.Beat(run.public_id, run.attempt, run.claim.claim_id)
    assert str(one.id) == str(claim.id)

    def updates():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
                " WHERE relname IN ('jobs_jobrun', 'agents_agentpresence')"
            )
            return {name: (every, hot) for name, every, hot in cursor.fetchall()}

    before = updates()
    for number in range(1000):
        progress = number // 10 if number % 2 else None
        beats.heartbeat(
            agent.agent, [beats.Beat(claim.id, claim.attempt, claim.claim_id, progress)]
        )
    after = updates()
    for table in ("jobs_jobrun", "agents_agentpresence"):
        every, hot = (new - old for new, old in zip(after[table], before[table], strict=True))
        assert every == 1000, table
        assert hot >= 950, table


def test_a_beat_after_the_deadline_is_too_late(agent, held):
    deadline_over(held)
    assert codes(beat(agent, held)) == ["stale_attempt"]
    assert sweeps.sweep() == 1
    run = JobRun.objects.get()
    assert (run.status, run.reason) == ("timed_out", "deadline")
