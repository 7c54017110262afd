"""What the page of a run that timed out says of its causes, and whom it tells what."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from agents import presence
from agents.models import AgentPresence, Assignment, Function
from jobs import sweeps
from jobs.models import Job, JobRun
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.jobs.passing import deadline_over, lease_over, queue_limit_over
from tests.pages import as_, causes, html

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def fell_silent(run: dict[str, Any] | JobRun) -> None:
    """Let the agents have been silent for so long that the run's lease is over, and told of it."""
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
    assert presence.mark_lost() > 0
    lease_over(run)


@pytest.mark.parametrize(
    ("ends", "first"),
    [(deadline_over, "Timeout value too short"), (fell_silent, "Agent connectivity")],
)
def test_a_time_out_names_its_four_usual_causes(
    ends: object, first: str, job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-21, S0-23: the most likely first, by what the portal saw."""
    run = factories.run(job, by=edda)
    assert "Likely causes" not in html(edda, f"/jobs/{run.public_id}")
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    ends(held)  # type: ignore[operator]
    assert sweeps.sweep() == 1
    page = html(edda, f"/jobs/{run.public_id}")
    listed = list(causes(page))
    assert listed[0] == first
    assert sorted(listed) == [
        "Agent connectivity",
        "Agent issue",
        "Overlapping jobs",
        "Timeout value too short",
    ]
    assert "Timed Out" in page


def timed_out(job: Job, agent: Enrolled, by: User) -> JobRun:
    """A run that ended at its limit."""
    run = factories.run(job, by=by)
    held = next(one for one in agent.api.claim(8) if one["id"] == str(run.public_id))
    agent.api.move(held, "running", progress=90)
    JobRun.objects.filter(pk=run.pk).update(started_at=Now() - timedelta(hours=1))
    deadline_over(held)
    assert sweeps.sweep() == 1
    run.refresh_from_db()
    return run


def took(job: Job, agent: Enrolled, by: User, seconds: list[float]) -> None:
    """Completed runs of the job of the days before, which took so long."""
    for days, number in zip(range(len(seconds), 0, -1), seconds, strict=True):
        run = factories.run(job, by=by)
        back_up(agent.api, {"a": b"1"})
        at = Now() - timedelta(days=days + 1)
        JobRun.objects.filter(pk=run.pk).update(
            duration_s=number, created_at=at, started_at=at, finished_at=at
        )


def test_a_limit_that_runs_came_near_is_the_likely_cause_and_can_be_raised(
    job: Job, agent: Enrolled, edda: User, vera: User
) -> None:
    """S0-23: how long the job's runs usually take, against its limit, and the step that cures."""
    took(job, agent, edda, [2200, 2300, 2600, 2800, 3100])
    run = timed_out(job, agent, edda)
    page = html(edda, f"/jobs/{run.public_id}")
    found = causes(page)
    assert next(iter(found)) == "Timeout value too short"
    said = found["Timeout value too short"]
    assert said.startswith("Likely The last 5 completed runs grew from 36 min 40 s to 51 min 40 s.")
    assert "The limit is 1 h." in said
    chart = page[page.index('role="img"') : page.index("</svg>", page.index('role="img"'))]
    assert chart.count("<rect") == 6
    assert "from 36 min 40 s to 1 h; the limit is 1 h" in chart
    address = f"/jobs/manage/{job.public_id}/edit?run_timeout=90"
    assert f'href="{address}">Raise to 90 min</a>' in page
    assert re.search(r'name="run_timeout" value="90"', html(edda, address))
    job.refresh_from_db()
    assert job.run_timeout_s is None  # the link proposes, the person saves
    assert "Raise to" not in html(vera, f"/jobs/{run.public_id}")
    Job.objects.filter(pk=job.pk).update(run_timeout_s=5400)
    assert "Raise to" not in html(edda, f"/jobs/{run.public_id}")


@pytest.mark.parametrize("proposed", ["soon", "-1", "99999999", "NaN", "%00"])
def test_a_limit_that_is_none_is_not_proposed(proposed: str, job: Job, edda: User) -> None:
    page = html(edda, f"/jobs/manage/{job.public_id}/edit?run_timeout={proposed}")
    assert re.search(r'name="run_timeout"(?! value)', page)


def test_a_run_that_hung_is_no_matter_of_its_limit(job: Job, agent: Enrolled, edda: User) -> None:
    """S0-23: what takes seconds otherwise did not need an hour."""
    took(job, agent, edda, [40, 44])
    run = timed_out(job, agent, edda)
    found = causes(html(edda, f"/jobs/{run.public_id}"))
    assert next(iter(found)) == "Agent issue"
    assert "It stood at 90 %." in found["Agent issue"]
    assert found["Timeout value too short"].startswith("Possible")
    assert "took 40 s to 44 s" in found["Timeout value too short"]


def test_runs_at_the_same_time_are_named_to_who_may_see_them(
    press: Target, yard: Site, backup: Function, works: Organization, job: Job, agent: Enrolled,
    alice: User, edda: User, django_assert_max_num_queries: object,
) -> None:  # fmt: skip
    """S0-23: the other runs of the agent and on the target, while this one ran."""
    other = factories.job(
        factories.target(yard, "Yard crane"), backup, owner=alice, name="Crane backup"
    )
    shared = factories.enrolled(works, "shared-agent", by=alice)
    beside = factories.run(other, by=alice)
    shared.api.move(shared.api.claim()[0], "running")
    run = timed_out(job, shared, edda)
    path = f"/jobs/{run.public_id}"
    found = causes(html(alice, path))
    assert next(iter(found)) == "Overlapping jobs"
    assert "There was 1 other run at the same time" in found["Overlapping jobs"]
    assert re.search(r"Crane backup , from \d\d:\d\d:\d\d$", found["Overlapping jobs"])
    assert f'href="/jobs/{beside.public_id}"' in html(alice, path)
    hers = html(edda, path)
    assert "Crane backup" not in hers
    assert "had no other run at the same time" in causes(hers)["Overlapping jobs"]
    for who in (alice, edda):
        client = as_(who)
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            client.get(path)


def test_a_silent_agent_is_said_to_be_back_or_gone(job: Job, agent: Enrolled, edda: User) -> None:
    """S0-23: when the agent was last heard of, and whether it came back."""
    run = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    fell_silent(held)
    assert sweeps.sweep() == 1
    path = f"/jobs/{run.public_id}"
    page = html(edda, path)
    said = causes(page)["Agent connectivity"]
    assert "Look whether its machine is on" in said
    assert re.search(r"Last heard of \d+ \w+, \d\d:\d\d CES?T \. Look at the agent$", said)
    AgentPresence.objects.update(seen_at=Now() + timedelta(seconds=5))
    assert "It came back later" in causes(html(edda, path))["Agent connectivity"]


def lost_for_a_while(agent: Enrolled) -> None:
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
    assert presence.mark_lost() == 1
    presence.seen(agent.agent)


def test_an_agent_that_was_lost_during_the_run_is_the_likely_cause(
    press: Target, backup: Function, job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-23: it came back in time to go on, and yet the limit was reached.

    What was seen goes before what may be: neither another run at the time, nor that the job comes
    near to its limit, nor that it usually takes seconds.
    """
    other = factories.job(press, backup, owner=edda, name="Other", overlap="allow")
    for seconds in ([], [3100.0], [40.0]):
        took(job, agent, edda, seconds)
        factories.run(job, by=edda)
        beside = factories.run(other, by=edda)
        held = {one["id"]: one for one in agent.api.claim(8)}
        for one in held.values():
            agent.api.move(one, "running")
        (run,) = JobRun.objects.filter(job=job, status="running")
        JobRun.objects.filter(pk=run.pk).update(started_at=Now() - timedelta(hours=1))
        lost_for_a_while(agent)
        deadline_over(run)
        assert sweeps.sweep() == 1
        page = html(edda, f"/jobs/{run.public_id}")
        found = causes(page)
        assert next(iter(found)) == "Agent connectivity"
        assert found["Agent connectivity"].startswith(
            "Likely hall-agent fell silent for more than a minute during the run."
        )
        for title in ("Agent issue", "Timeout value too short", "Overlapping jobs"):
            assert found[title].startswith("Possible")
        assert "at work until the limit" not in page
        assert "Raise to" not in page
        agent.api.finish(held[str(beside.public_id)], "failed")


def test_when_the_agent_was_last_heard_of_is_for_who_may_see_it(
    works: Organization, job: Job, alice: User, edda: User, vera: User
) -> None:
    """An agent of all sites is no business of who has a role at one."""
    shared = factories.enrolled(works, "shared-agent", by=alice)
    run = factories.run(job, by=edda)
    (held,) = shared.api.claim()
    shared.api.move(held, "running")
    fell_silent(held)
    assert sweeps.sweep() == 1
    path = f"/jobs/{run.public_id}"
    for minutes, to_alice in ((-5, "Look whether its machine is on"), (5, "It came back later")):
        AgentPresence.objects.update(seen_at=Now() + timedelta(minutes=minutes))
        said = causes(html(alice, path))["Agent connectivity"]
        assert to_alice in said
        assert "Last heard of" in said
        assert "Look at the agent" in said
        for user in (edda, vera):
            said = causes(html(user, path))["Agent connectivity"]
            assert said == "Likely shared-agent sent no heartbeat for more than a minute."


def test_an_agent_that_was_restarted_is_the_likely_cause(
    press: Target, backup: Function, job: Job, agent: Enrolled, edda: User
) -> None:
    run = factories.run(job, by=edda)
    other = factories.job(press, backup, owner=edda, name="Other", overlap="allow")
    beside = factories.run(other, by=edda)
    held = {one["id"]: one for one in agent.api.claim(8)}
    for one in held.values():
        agent.api.move(one, "running")
    answer = agent.api.finish(held[str(beside.public_id)], "failed", reason="agent_restarted")
    assert answer.status_code == 200
    lease_over(run)
    assert sweeps.sweep() == 1
    found = causes(html(edda, f"/jobs/{run.public_id}"))
    assert next(iter(found)) == "Agent issue"
    assert found["Agent issue"].startswith("Likely hall-agent was restarted")
    assert found["Agent connectivity"].startswith("Unlikely hall-agent was never silent")


def heard_but_not_of_it(job: Job, agent: Enrolled, by: User) -> JobRun:
    """A run whose agent goes on beating, and no longer says that it holds the run."""
    run = factories.run(job, by=by)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    assert agent.api.post("heartbeat", {"runs": []}).status_code == 200
    lease_over(held)
    assert sweeps.sweep() == 1
    run.refresh_from_db()
    assert (run.status, run.reason) == ("timed_out", "agent_lost")
    return run


def test_an_agent_that_was_heard_all_the_time_is_not_called_silent(
    job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-23: it was present, and said no more that it holds the run."""
    run = heard_but_not_of_it(job, agent, edda)
    path = f"/jobs/{run.public_id}"
    for _ in range(2):
        page = html(edda, path)
        found = causes(page)
        assert next(iter(found)) == "Agent issue"
        assert found["Agent issue"].startswith(
            "Likely hall-agent was heard of all the time, but no longer said that it was at work"
        )
        assert found["Agent issue"].endswith("Look at the agent")
        assert found["Agent connectivity"].startswith(
            "Unlikely hall-agent was never silent for longer than a minute. Last heard of"
        )
        assert "hall-agent no longer said that it was at work on it, so the run was ended." in page
        for wrong in ("no heartbeat", "no sign of life", "was away", "fell silent"):
            assert wrong not in page
        assert "fell silent" not in html(edda, f"{path}?tab=history")
        # Nor because of a silence long before its lease was renewed for the last time.
        lost_for_a_while(agent)
        later = Now() + timedelta(minutes=10)
        JobRun.objects.filter(pk=run.pk).update(finished_at=later)
        AgentPresence.objects.update(seen_at=later)


def test_a_silence_that_is_told_of_after_the_end_is_not_dated_before_it(
    job: Job, agent: Enrolled, edda: User
) -> None:
    """Its Event says that it has lasted for a minute, not what was when the run was ended."""
    run = heard_but_not_of_it(job, agent, edda)
    lost_for_a_while(agent)
    page = html(edda, f"/jobs/{run.public_id}")
    found = causes(page)
    assert next(iter(found)) == "Agent connectivity"
    assert found["Agent connectivity"].startswith(
        "Likely hall-agent fell silent for more than a minute about when the run was ended."
    )
    assert found["Agent issue"].startswith("Possible")
    assert "no sign of life" not in page


def test_an_agent_that_is_back_before_the_run_is_ended_was_silent(
    job: Job, agent: Enrolled, edda: User
) -> None:
    run = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    lost_for_a_while(agent)
    lease_over(held)
    assert sweeps.sweep() == 1
    page = html(edda, f"/jobs/{run.public_id}")
    assert next(iter(causes(page))) == "Agent connectivity"
    assert "hall-agent gave no sign of life, so the run was ended." in page


def test_an_agent_that_was_silent_all_the_wait_is_the_likely_cause(
    press: Target, backup: Function, job: Job, agent: Enrolled, works: Organization, hall: Site,
    alice: User, edda: User,
) -> None:  # fmt: skip
    """S0-23: a run that nobody took leads to the agent that was asked for."""
    busy = factories.enrolled(works, "busy-agent", site=hall, by=alice)
    other = factories.job(press, backup, owner=edda, name="Other", overlap="allow")
    factories.run(other, by=edda)
    busy.api.move(busy.api.claim()[0], "running")
    job.assignment, job.agent = Assignment.AGENT, agent.agent
    job.save()
    for gone, weight in ((False, "Possible"), (True, "Likely")):
        run = factories.run(job, by=edda)
        if gone:
            AgentPresence.objects.filter(agent=agent.agent).update(
                seen_at=Now() - timedelta(minutes=5)
            )
            assert presence.mark_lost() == 1
        queue_limit_over(run)
        assert sweeps.sweep() == 1
        page = html(edda, f"/jobs/{run.public_id}")
        found = causes(page)
        assert next(iter(found)) == ("Agent connectivity" if gone else "Overlapping jobs")
        assert found["Agent connectivity"].startswith(f"{weight} hall-agent")
        assert ("was silent when the longest wait ended" in page) == gone
        assert f'href="/agents/{agent.agent.public_id}">Look at the agent' in page
