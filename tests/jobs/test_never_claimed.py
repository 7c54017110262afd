"""What is said of a run that waits for an agent until its longest wait is over: page and API."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from agents import presence
from agents.models import AgentPresence, Function
from jobs import definitions, sweeps
from jobs.models import Job, JobRun
from sites.models import Organization, Site, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.pages import as_, causes, facts, html, words
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def short(job: Job) -> Job:
    """A job whose runs wait for 15 s at most."""
    job.queue_timeout_s = 15
    job.save()
    return job


def wait_over(run: JobRun, *, seconds: int = 20) -> None:
    """Let a run have been made so long ago, and its longest wait be over."""
    past = timedelta(seconds=seconds)
    moved = {name: F(name) - past for name in ("created_at", "updated_at", "queue_until")}
    JobRun.objects.filter(pk=run.pk).update(**moved)
    assert sweeps.sweep() == 1
    run.refresh_from_db()
    assert run.reason == "never_claimed"


def waited(job: Job, agent: Enrolled, by: User, seconds: list[float]) -> None:
    """Completed runs of the days before, which waited so long until they began."""
    for days, number in zip(range(len(seconds), 0, -1), seconds, strict=True):
        run = factories.run(job, by=by)
        back_up(agent.api, {"a": b"1"})
        made = timezone.now() - timedelta(days=days)
        JobRun.objects.filter(pk=run.pk).update(
            created_at=made, started_at=made + timedelta(seconds=number)
        )


def test_a_pending_run_says_how_long_it_may_wait(short: Job, edda: User) -> None:
    run = factories.run(short, by=edda)
    told = facts(html(edda, f"/jobs/{run.public_id}"))["Longest wait"]
    assert re.fullmatch(r"15 s ends at \d+ \w+, \d\d:\d\d CES?T", told)
    run.refresh_from_db()
    api = API(edda).get(f"runs/{run.public_id}").json()
    assert (api["run_timeout_s"], api["queue_timeout_s"]) == (3600, 15)
    assert run.queue_until is not None
    assert api["queue_until"] == timezone.localtime(run.queue_until).isoformat().replace(
        "+00:00", "Z"
    )
    # Anew with the end of a pause, as the sweep does it.
    until = timezone.now() + timedelta(hours=2)
    definitions.pause(short, until=until, reason="Oil", by=edda)
    ends = API(edda).get(f"runs/{run.public_id}").json()["queue_until"]
    assert ends[:19] == (until + timedelta(seconds=15)).isoformat()[:19]
    JobRun.objects.update(queue_until=Now() - timedelta(seconds=1))
    assert sweeps.sweep() == 0


def test_the_limit_that_ended_it_is_named(short: Job, agent: Enrolled, edda: User) -> None:
    """S0-23: 15 s is the longest wait, whatever the run might have taken."""
    run = factories.run(short, by=edda)
    wait_over(run)
    path = f"/jobs/{run.public_id}"
    page = html(edda, path)
    assert "No agent took it within its longest wait of 15 s." in page
    assert facts(page)["Longest wait"] == "15 s"
    api = API(edda).get(path.replace("/jobs/", "runs/")).json()
    assert (api["queue_timeout_s"], api["queue_until"]) == (15, None)
    said = causes(page)["Timeout value too short"]
    assert said == (
        "Possible No agent took it within its longest wait of 15 s."
        " No run before it says how long it usually waits."
    )


@pytest.mark.parametrize(
    ("seconds", "limit_s", "weight", "span"),
    [
        ([2, 13], 15, "Likely", "2 runs before it waited 2 s to 13 s. Give it a longer wait."),
        ([2, 3], 15, "Possible", "2 runs before it waited 2 s to 3 s."),
        ([4], 3600, "Unlikely", "The run before it waited 4 s."),
        ([3000], 3600, "Likely", "The run before it waited 50 min. Give it a longer wait."),
    ],
)
def test_how_long_runs_waited_before_says_whether_the_limit_is_short(
    seconds: list[float], limit_s: int, weight: str, span: str,
    job: Job, agent: Enrolled, edda: User,
) -> None:  # fmt: skip
    waited(job, agent, edda, seconds)
    job.queue_timeout_s = limit_s
    job.save()
    run = factories.run(job, by=edda)
    wait_over(run, seconds=limit_s + 5)
    said = causes(html(edda, f"/jobs/{run.public_id}"))["Timeout value too short"]
    assert said.startswith(f"{weight} No agent took it within its longest wait of")
    assert said.endswith(span)


def test_the_agents_that_could_have_taken_it_are_named_to_who_may_see_them(
    works: Organization, hall: Site, short: Job, agent: Enrolled, backup: Function, alice: User,
    edda: User, mia: User, django_assert_max_num_queries: object,
) -> None:  # fmt: skip
    """Domain rules 2 and 8: others than the one asked for are named to who may see them."""
    shared = factories.enrolled(works, "shared-agent", by=alice)
    run = factories.run(short, by=edda)
    JobRun.objects.filter(pk=run.pk).update(started_by=mia)
    wait_over(run)
    path = f"/jobs/{run.public_id}"
    for who, seen in ((alice, [agent, shared]), (edda, [agent]), (mia, [])):
        page = html(who, path)
        said = causes(page)["Agent connectivity"]
        for one in (agent, shared):
            address = f'href="/agents/{one.agent.public_id}"'
            assert (address in page) is (one in seen)
            named = re.search(rf"{one.agent.name} , last heard of \d+ \w+, \d\d:\d\d CES?T", said)
            assert bool(named) is (one in seen)
            assert (one.agent.name in page) is (one in seen)
        found = causes(page)
        assert next(iter(found)) == "Agent issue"
        assert found["Agent issue"].startswith("Likely An agent that may take it was heard of")
        client = as_(who)
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            client.get(path)
    # Who comes later could not have taken it.
    factories.enrolled(works, "late-agent", site=hall, by=alice)
    assert "late-agent" not in html(alice, path)


def test_all_silent_makes_their_connection_the_likely_cause(
    works: Organization, short: Job, agent: Enrolled, alice: User, edda: User
) -> None:
    factories.enrolled(works, "shared-agent", by=alice)
    run = factories.run(short, by=edda)
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
    assert presence.mark_lost() == 2
    wait_over(run)
    found = causes(html(edda, f"/jobs/{run.public_id}"))
    assert next(iter(found)) == "Agent connectivity"
    assert found["Agent connectivity"].startswith(
        "Likely Each agent that may take it was silent when the longest wait ended. hall-agent ,"
    )
    assert "shared-agent" not in found["Agent connectivity"]


def test_a_run_of_another_system_has_no_longest_wait(job: Job, edda: User) -> None:
    run = factories.run(job, by=edda)
    JobRun.objects.update(origin="synced", queue=None, queue_until=None)
    assert "Longest wait" not in words(html(edda, f"/jobs/{run.public_id}"))
    api = API(edda).get(f"runs/{run.public_id}").json()
    assert (api["queue_timeout_s"], api["queue_until"]) == (None, None)
