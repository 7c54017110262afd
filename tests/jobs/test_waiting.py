"""Why a run waits, as page, lists, API and admin say it, cause by cause and to whom."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import escape
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from agents import enrolment
from agents.models import AgentPresence, Function
from jobs import waiting
from jobs.models import Job, JobRun
from sites import places
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs import waiters
from tests.jobs.passing import pause_over
from tests.jobs.waiters import SOON, Place
from tests.pages import admin_path, as_, html, words
from tests.people import API

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(
    works: Organization, hall: Site, press: Target, backup: Function, agent: Enrolled,
    alice: User, edda: User,
) -> Place:  # fmt: skip
    return Place(works, hall, press, backup, agent, alice, edda)


ANEW = "cancel it, choose another one for the job and start it again."
CAUSES: list[tuple[Callable[[Place], JobRun], str, str, str, str]] = [
    # how it comes about, the code, the message, the act, what a row says
    (waiters.pause_site, "paused",
     r"Site Press hall is paused until \S+ \S+ \(CES?T\): Stocktaking\.",
     "Resume the site, or wait until then.", "its site is paused"),
    (waiters.pause_job, "paused",
     r"Job Press line 1 backup is paused until \S+ \S+ \(CES?T\): New bearings\.",
     "Resume the job, or wait until then.", "its job is paused"),
    (waiters.wait_for_turn, "turn",
     (r"It waits for its turn: the schedule of Press hall has one run at work at once, and no agent"
     r" has taken what it let in\."),
     "Wait, see why those before it wait, or let the site's schedule have more at work at once.",
     "waits for its turn"),
    (waiters.no_agent, "no_agent", r"No agent of the site has folder\.backup now\.",
     "Add an agent for Press hall.", "no agent can take it"),
    (waiters.empty_pool, "no_agent", r"No agent of the pool Presses has folder\.backup now\.",
     "Add an agent that serves Press hall to the pool Presses.", "no agent can take it"),
    (waiters.retired, "no_agent", r"hall-agent is retired\.",
     "Cancel it, choose another one for the job and start it again.",
     "its agent cannot take it"),
    (waiters.unlearned, "no_function", r"No agent of the site has folder\.backup now\.",
     "Give an agent of Press hall the tool folder, or wait for one.", "no agent has the function"),
    (waiters.other_version, "no_function", r"No agent of the site has folder\.backup 1\.0 now\.",
     "Give an agent of Press hall the tool folder 1.0, or wait for one.",
     "no agent has the function"),
    (waiters.restricted, "restricted",
     r"Each agent of the site that has \S+ is in a restricted pool now, .* no automatic runs\.",
     ("Cancel it and choose one of those agents or its pool for the job and start it again, or take"
     " one out of its restricted pool."),
     "its agents are kept for others"),
    (waiters.silent, "away", r"hall-agent is disconnected\.",
     "Start hall-agent on its machine.", "its agents are away"),
    (waiters.silent_one, "away", r"hall-agent is disconnected\.",
     f"Start hall-agent on its machine, or {ANEW}", "its agent is away"),
    (waiters.silent_two, "away",
     r"Each agent of the site that has folder\.backup is disconnected\.",
     "Start one of them on its machine.", "its agents are away"),
    (waiters.never_seen, "away", r"hall-agent was never seen yet\.",
     f"Start hall-agent on its machine, or {ANEW}", "its agent is away"),
    (waiters.draining, "draining", r"hall-agent is draining and takes no new runs\.",
     f"Let hall-agent take runs again, or {ANEW}",
     "its agent takes no runs now"),
    (waiters.paused_agent, "draining", r"hall-agent is paused until \S+ \S+ \(CES?T\)\.",
     "Let hall-agent take runs again.", "its agents take no runs now"),
    (waiters.behind, "behind", r"It waits behind run \w{6}… on the same target\.",
     "Wait for its end.", "behind another run"),
    (waiters.full, "slots", r"hall-agent has the one run that it takes at a time\.",
     "Wait, raise the slots of hall-agent, or add an agent.", "every slot is taken"),
    (waiters.full_two, "slots",
     r"Each agent that is there for it has as many runs as it takes at a time\.",
     "Wait, raise the slots of one of them, or add an agent.", "every slot is taken"),
    (waiters.full_one, "slots", r"hall-agent has the one run that it takes at a time\.",
     "Wait, or raise the slots of hall-agent.", "its agent has no free slot"),
    (waiters.full_pool, "slots", r"hall-agent has the one run that it takes at a time\.",
     "Wait, raise the slots of hall-agent, or add an agent to the pool Presses.",
     "every slot is taken"),
    (waiters.beside, "soon", r"An agent is about to take it\.", "", "about to be taken"),
    (waiters.free, "soon", r"An agent is about to take it\.", "", "about to be taken"),
    (waiters.free_one, "soon", r"hall-agent is about to take it\.", "", "about to be taken"),
    (waiters.foreign, "elsewhere", r"It waits in the system that it was started in\.", "",
     "waits elsewhere"),
]  # fmt: skip
EVERY = pytest.mark.parametrize(
    ("make", "code", "message", "act", "brief"), CAUSES, ids=[row[0].__name__ for row in CAUSES]
)


def says(by: User, run: JobRun) -> tuple[str, str | None]:
    """The sentence under the run's name, and where its link leads."""
    page = html(by, f"/jobs/{run.public_id}")
    sentence = page[page.index('id="run-says">') :].split(">", 1)[1].split("</span>")[0]
    found = re.search(r'<a class="underlined" href="([^"]+)">', sentence)
    return words(sentence), found[1] if found else None


def in_brief(act: str, run: JobRun, code: str) -> str:
    """What a row says of an act: it looks no names up, and does not ask what its reader sees."""
    if code == "paused":
        return "Wait until the pause is over, or have it ended."
    return act if run.requested_agent_id else act.replace("hall-agent", "one of them")


@EVERY
def test_every_cause(
    make: Callable[[Place], JobRun], code: str, message: str, act: str, brief: str, place: Place
) -> None:
    run = make(place)
    api = API(place.alice)
    told = api.get(f"runs/{run.public_id}").json()["waiting"]
    assert (told["code"], told["act"]) == (code, act)
    assert re.fullmatch(message, told["message"])
    [row] = [one for one in api.get("runs").json()["results"] if one["id"] == str(run.public_id)]
    short = in_brief(act, run, code)
    assert row["waiting"] == told | {"message": f"{brief[0].upper()}{brief[1:]}.", "act": short}
    assert (told["behind"] is None) is (code != "behind")


@EVERY
@pytest.mark.once
def test_every_cause_on_the_pages(
    make: Callable[[Place], JobRun], code: str, message: str, act: str, brief: str, place: Place
) -> None:
    """And a link leads where the act is done, which nobody is given who may not open that page."""
    run = make(place)
    told, administrator = says(place.alice, run)
    assert re.match(f"{message} ?{re.escape(act)}".rstrip(), told)
    row = html(place.alice, "/jobs/manage")
    if code != "turn":
        assert brief in words(row)
        title = in_brief(act, run, code)
        assert (f'title="{escape(title)}"' in row) is bool(act)
    assert (administrator is None) is (code in ("soon", "elsewhere"))
    if administrator is not None:
        assert as_(place.alice).get(administrator).status_code == 200
    vera = factories.member(place.works, "vera", "member", viewer=place.hall)
    _, hers = says(vera, run)
    if hers is not None:
        assert as_(vera).get(hers).status_code == 200
    if code in ("turn", "no_agent") and make is not waiters.no_agent:
        assert hers is None


@pytest.mark.once
@pytest.mark.parametrize("make", [waiters.pause_site, waiters.silent_two, waiters.behind])
def test_lists_and_the_admin_say_it_too(make: Callable[[Place], JobRun], place: Place) -> None:
    [(message, act, brief)] = [row[2:] for row in CAUSES if row[0] is make]
    run = make(place)
    for path in ("/jobs/history", "/jobs?tab=all", "/"):
        assert brief.lower() in words(html(place.alice, path)).lower(), path
    listed = as_(place.alice).get(admin_path(run, "changelist")).content.decode()
    assert brief.lower() in words(listed).lower()
    page = as_(place.alice).get(admin_path(run, "change", run.pk)).content.decode()
    assert re.search(f"{message} {re.escape(act)}", words(page))


@pytest.mark.once
@pytest.mark.parametrize("make", [waiters.silent_one, waiters.draining, waiters.retired])
def test_another_agent_for_the_job_takes_what_is_started_again(
    make: Callable[[Place], JobRun], place: Place
) -> None:
    """What the act says, done: the run that waited stays with the agent it was made for."""
    run = make(place)
    assert run.job is not None
    other = place.second()
    api = API(place.alice)
    changed = api.patch(f"jobs/{run.job.public_id}", {"agent": str(other.agent.public_id)})
    assert changed.status_code == 200
    assert other.api.claim() == []
    assert api.post(f"runs/{run.public_id}/cancel").status_code == 200
    again = api.post(f"jobs/{run.job.public_id}/run").json()
    assert [one["id"] for one in other.api.claim()] == [again["id"]]


@pytest.mark.once
def test_who_may_not_see_what_is_paused_reads_until_when_alone(place: Place, mia: User) -> None:
    """A run is its starter's to read, also without the role that showed them its job."""
    run = waiters.pause_job(place)
    waiters.pause_site(place)
    JobRun.objects.filter(pk=run.pk).update(started_by=mia)
    said, led = says(mia, run)
    assert "Site Press hall is paused until" in said
    assert "Job Press line 1 backup is paused until" in said
    assert said.endswith("Wait until then.")
    assert "Stocktaking" not in said
    assert "New bearings" not in said
    assert led is None
    told = API(mia).get(f"runs/{run.public_id}").json()["waiting"]
    assert (told["act"], "Stocktaking" in told["message"]) == ("Wait until then.", False)
    assert "Stocktaking" in says(place.alice, run)[0]
    [row] = API(mia).get("runs").json()["results"]
    assert row["waiting"]["act"] == "Wait until the pause is over, or have it ended."


@pytest.mark.once
def test_who_may_not_cancel_is_not_told_to(place: Place, edda: User) -> None:
    """Rule 1: the starter alone does, also of what a schedule started as them."""
    run = waiters.silent_one(place)
    assert "or cancel it, choose another" in says(place.alice, run)[0]
    assert "or have it canceled by who started it, choose another" in says(edda, run)[0]
    for reader, words_for in ((place.alice, "or cancel it"), (edda, "or have it canceled by")):
        [row] = API(reader).get("runs").json()["results"]
        assert words_for in row["waiting"]["act"]


@pytest.mark.once
def test_a_turn_that_is_at_work_is_not_called_stuck(place: Place) -> None:
    run = waiters.wait_for_turn(place)
    assert "no agent has taken" in says(place.alice, run)[0]
    [held] = place.agent.api.claim()
    assert "one run at work at once. Wait" in says(place.alice, run)[0]
    place.agent.api.move(held, "running")
    place.agent.api.finish(held, "failed", message="No.")
    # Nothing is let in for a moment, and nobody is stuck.
    assert "no agent has taken" not in says(place.alice, run)[0]


def test_who_may_not_see_the_agent_reads_no_name_and_finds_no_link(
    works: Organization, yard: Site, backup: Function, alice: User, mia: User
) -> None:
    """Mia started the run and sees it, but no agent; two would be named to nobody."""
    made = factories.enrolled(works, "yard-agent", site=yard, by=alice)
    job = factories.job(factories.target(yard, "Crane"), backup, owner=alice)
    run = factories.run(job, by=mia)
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
    told, led = says(alice, run)
    assert told.startswith("yard-agent is disconnected. Start yard-agent on its")
    assert led == f"/agents/{made.agent.public_id}"
    hers, her_link = says(mia, run)
    assert hers.startswith(
        "Each agent of the site that has folder.backup is disconnected. Start one of them"
    )
    assert "yard-agent" not in html(mia, f"/jobs/{run.public_id}")
    assert "yard-agent" not in str(API(mia).get(f"runs/{run.public_id}").json())
    assert her_link == "/agents"
    # The one that was asked for is named by the run itself.
    Job.objects.update(assignment="agent", agent=made.agent)
    job.refresh_from_db()
    JobRun.objects.all().delete()
    asked = factories.run(job, by=mia)
    hers, her_link = says(mia, asked)
    assert hers.startswith("yard-agent is disconnected.")
    assert her_link is None


def test_who_may_not_see_the_run_before_it_reads_only_that_there_is_one(
    press: Target, backup: Function, agent: Enrolled, manuel: User, edda: User, vera: User
) -> None:
    """Manuel sees only what he started; Edda's run is before his."""
    first = factories.run(factories.job(press, backup, owner=edda, name="Secret errand"), by=edda)
    assert agent.api.claim()
    run = factories.run(factories.job(press, backup, owner=edda, name="Second"), by=manuel)
    told = {
        who: API(who).get(f"runs/{run.public_id}").json()["waiting"] for who in (edda, vera, manuel)
    }
    for who in (edda, vera):
        assert told[who]["behind"] == str(first.public_id)
        assert says(who, run)[1] == f"/jobs/{first.public_id}"
    assert told[manuel] == {
        "code": "behind",
        "message": "It waits behind another run on the same target.",
        "act": "Wait for its end.",
        "behind": None,
    }
    page = html(manuel, f"/jobs/{run.public_id}")
    assert "Secret errand" not in page
    assert str(first.public_id)[:6] not in page


def test_it_is_said_only_while_the_run_waits(job: Job, agent: Enrolled, edda: User) -> None:
    run = factories.run(job, by=edda)
    assert waiting.of(run, by=edda) is not None
    [claimed] = agent.api.claim()
    # What was read before knows better than the row in hand.
    assert waiting.of(run, by=edda) is None
    agent.api.move(claimed, "running")
    assert API(edda).get(f"runs/{run.public_id}").json()["waiting"] is None
    assert "about to" not in words(html(edda, "/jobs/history"))


def test_the_first_cause_wins_and_the_next_one_follows(place: Place) -> None:
    """A site that is paused, whose agent drains, and a run before it."""
    run = waiters.behind(place)
    enrolment.drain(place.agent.agent, on=True)
    until = timezone.now() + SOON
    places.pause_site(place.hall, until=until, reason="Oil", by=place.alice)
    codes = []
    for cure in (
        lambda: pause_over(place.hall),
        lambda: enrolment.drain(place.agent.agent, on=False),
        lambda: JobRun.objects.exclude(pk=run.pk).update(overlap=True),
        lambda: None,
    ):
        found = waiting.of(JobRun.objects.get(pk=run.pk), by=place.alice)
        assert found is not None
        codes.append(found.code)
        cure()
    assert codes == ["paused", "draining", "behind", "soon"]


def test_a_run_without_a_job_is_started_again_otherwise(place: Place) -> None:
    body = {
        "target": str(place.press.public_id),
        "function": str(place.backup.public_id),
        "agent": str(place.agent.agent.public_id),
    }
    waiters.silent_one(place)
    JobRun.objects.all().delete()
    told = API(place.alice).post("runs", body).json()["waiting"]
    assert told["act"].endswith("or cancel it and start it for another one.")


def test_one_query_tells_of_a_page_however_many_wait(
    place: Place, django_assert_num_queries: Any
) -> None:
    for number in (1, 4):
        for _ in range(number):
            target = factories.target(place.hall, f"T{JobRun.objects.count()}")
            factories.run(factories.job(target, place.backup, owner=place.alice), by=place.alice)
        rows = waiting.told(JobRun.objects.for_rows(), by=place.edda)
        with django_assert_num_queries(1):
            waiting.told(rows, by=place.edda)
        assert {waiting.brief(run) for run in rows} == {"about to be taken"}
    ended = rows[0]
    ended.status = "completed"
    with django_assert_num_queries(0):
        waiting.told([ended], by=place.edda)
    assert waiting.brief(ended) == ""
