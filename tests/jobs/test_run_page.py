"""What the lists and the page of a run say about it, field by field, as its viewer reads them."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from html import unescape

import pytest
from django.db.models.functions import Now

from agents import presence
from agents.models import AgentPool, AgentPresence, Assignment, Function
from jobs import sweeps
from jobs.models import Job, JobRun
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.backups import back_up, leave_file
from tests.factories import Enrolled
from tests.jobs.passing import deadline_over, lease_over, queue_limit_over
from tests.jobs.test_pages import as_, html

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def words(markup: str) -> str:
    """What a person reads of a piece of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def facts(page: str) -> dict[str, str]:
    """The pairs of the column of facts."""
    aside = page[page.index('id="run-facts"') :]
    pairs = re.findall(r"<dt[^>]*>(.*?)</dt><dd[^>]*>(.*?)</dd>", aside, re.DOTALL)
    return {words(term): words(value) for term, value in pairs}


def rows(page: str) -> list[dict[str, str]]:
    """A page's table: each row by the words of its columns; a column without words has none."""
    table = page[page.index("<table") : page.index("</table>")]
    heads = [words(cell) for cell in re.findall(r"<th\b[^>]*>(.*?)</th>", table, re.DOTALL)]
    found = []
    for row in re.findall(r"<tr\b[^>]*>(.*?)</tr>", table, re.DOTALL):
        cells = [words(cell) for cell in re.findall(r"<td\b[^>]*>(.*?)</td>", row, re.DOTALL)]
        if len(cells) == len(heads):
            found.append(dict(zip(heads, cells, strict=True)))
    return found


def test_the_facts_of_a_backup(
    press: Target, backup: object, agent: Enrolled, edda: User, alice: User
) -> None:
    """What the list's link opens.

    S0-25, S1-06, S1-18 to S1-21, S3-22, S3-25 to S3-28, S3-30, S4-08, S4-09.
    """
    job = factories.job(
        press,
        backup,  # type: ignore[arg-type]
        owner=edda,
        assignment="agent",
        agent=agent.agent,
    )
    factories.run(job, by=edda)
    back_up(agent.api, {"a": b"1"})
    run = factories.run(job, by=edda)
    back_up(agent.api, {"a": b"2"})
    run.refresh_from_db()
    address = f"/jobs/{run.public_id}"
    assert re.search(rf'href="{address}">folder\.backup</a>', html(edda, "/jobs"))
    page = html(alice, address)
    told = facts(page)
    started = told.pop("Started On")
    assert re.match(r"\d+ \w+, \d\d:\d\d CES?T \d+ \w+ ago", started)
    assert re.match(r"\d+ \w+, \d\d:\d\d CES?T", told.pop("Finished"))
    assert re.match(r"backup of \d+ \w+", told.pop("Compared with")[8:])
    assert told.pop("Duration").endswith(" s")
    assert run.snapshot is not None
    assert run.base_snapshot is not None
    assert run.base_snapshot.commit_id[:7] in page
    assert told == {
        "Job ID": f"{str(run.public_id)[:6]}…",
        "Site": "Press hall",
        "Target": "Press line 1",
        "Job": "Press line 1 backup",
        "Started By": "Edda",
        "Timeout": "1 h",
        "Tool": "folder",
        "Function": "folder.backup",
        "Agent": "hall-agent",
        "Assignment": "hall-agent",
        "Agent ID": f"{str(agent.agent.public_id)[:6]}…",
        "Commit": run.snapshot.commit_id[:7],
    }
    # S3-05: a click on the first six characters copies all of the id.
    assert f'data-copy="{run.public_id}"' in page
    assert f'href="/jobs/manage/{job.public_id}"' in page
    # S3-28: the agent's name leads to the agent, and a click copies all of its id.
    assert f'href="/agents/{agent.agent.public_id}">hall-agent</a>' in page
    assert f'data-copy="{agent.agent.public_id}"' in page


def test_the_agent_is_a_link_for_who_may_see_it_and_says_when_it_is_gone(
    yard: Site, backup: Function, works: Organization, alice: User, manuel: User, mia: User
) -> None:
    """S3-28: the starter of a run need not be allowed to see the agent that took it."""
    made = factories.enrolled(works, "yard-agent", by=alice, site=yard)
    job = factories.job(factories.target(yard, "Yard crane"), backup, owner=alice)
    run = factories.run(job, by=mia)
    back_up(made.api, {"a": b"1"})
    link = f'href="/agents/{made.agent.public_id}"'
    assert link in html(alice, f"/jobs/{run.public_id}")
    page = html(mia, f"/jobs/{run.public_id}")
    assert link not in page
    assert facts(page)["Agent"] == "yard-agent"
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
    assert facts(html(alice, f"/jobs/{run.public_id}"))["Agent"] == "yard-agent Disconnected"


def test_a_run_for_a_pool_says_which(
    hall: Site, press: Target, backup: object, agent: Enrolled, edda: User
) -> None:
    """S3-29: the pool that was asked for stands beside the agent that took the run."""
    pool = AgentPool.objects.create(organization=hall.organization, name="Presses")
    pool.agents.add(agent.agent)
    job = factories.job(press, backup, owner=edda, assignment="pool", pool=pool)  # type: ignore[arg-type]
    run = factories.run(job, by=edda)
    back_up(agent.api, {"a": b"1"})
    told = facts(html(edda, f"/jobs/{run.public_id}"))
    assert (told["Assignment"], told["Agent"]) == ("Pool Presses", "hall-agent")


def says(by: User, run: JobRun) -> str:
    """The sentence under the run's name."""
    page = html(by, f"/jobs/{run.public_id}")
    return words(page[page.index('id="run-says">') :].split(">", 1)[1].split("</span>")[0])


def test_a_run_that_a_restricted_pool_strands_says_so(
    hall: Site, press: Target, job: Job, backup: Function, agent: Enrolled, edda: User
) -> None:
    """The pool becomes restricted while runs wait: those for its agents are stranded."""
    works = hall.organization
    kept, fast = (AgentPool.objects.create(organization=works, name=n) for n in ("kept", "fast"))
    for pool in (kept, fast):
        pool.agents.add(agent.agent)
    run = factories.run(job, by=edda)
    other = factories.target(hall, "Press line 2")
    fast_job = factories.job(other, backup, owner=edda, assignment="pool", pool=fast)
    for_fast = factories.run(fast_job, by=edda)
    assert says(edda, run) == "Waits for an agent that can do it and has a free slot."
    assert says(edda, for_fast) == "Waits for an agent of the pool fast."
    kept.restricted = True
    kept.save()
    assert agent.api.claim(8) == []
    assert says(edda, run) == (
        "No agent can take it. Each agent of the site that has folder.backup is in a restricted "
        "pool now, which takes no automatic runs."
    )
    assert says(edda, for_fast) == (
        "No agent can take it. Each agent of the pool fast that has folder.backup is in a "
        "restricted pool now, which takes no runs of an open one."
    )
    JobRun.objects.filter(pk=run.pk).update(queue_until=Now())
    assert sweeps.sweep() == 1
    page = html(edda, f"/jobs/{run.public_id}")
    assert next(iter(causes(page))) == "Agent issue"
    assert "is in a restricted pool now" in page
    kept.restricted = False
    kept.save()
    assert says(edda, for_fast) == "Waits for an agent of the pool fast."


def test_a_run_whose_agent_cannot_take_it_any_more_says_so(
    press: Target, backup: Function, agent: Enrolled, edda: User
) -> None:
    job = factories.job(press, backup, owner=edda, assignment="agent", agent=agent.agent)
    run = factories.run(job, by=edda)
    assert says(edda, run) == "Waits for hall-agent."
    hello = {"version": "1", "platform": "", "tools": []}
    assert agent.api.post("hello", hello).status_code == 200
    assert says(edda, run) == "No agent can take it. hall-agent does not have folder.backup now."


def test_the_columns_of_the_lists(job: Job, agent: Enrolled, edda: User) -> None:
    """One row for each job and each run.

    S0-01, S0-05, S0-07, S1-03 to S1-05, S1-07, S1-09, S2-02, S2-04, S2-05, S2-09, S3-04 to S3-07.
    """
    run = factories.run(job, by=edda)
    short = f"{str(run.public_id)[:6]}…"
    (mine,) = rows(html(edda, "/jobs"))
    assert mine["Tool / Function"] == "folder.backup Press line 1 backup, Press line 1"
    assert (mine["Job ID"], mine["Status"]) == (short, "Pending")
    back_up(agent.api, {"a": b"1"})
    (mine,) = rows(html(edda, "/jobs"))
    assert mine["Status"] == "Completed Modified"
    (past,) = rows(html(edda, "/jobs/history"))
    started = next(value for name, value in past.items() if name.startswith("Started,"))
    assert re.match(r"\d+ \w+, \d\d:\d\d", started)
    assert past["Process"].startswith("Press line 1 backup")
    assert past["Duration"].endswith(" s")
    assert {name: past[name] for name in ("Result", "Source", "Agent", "Started By", "Job ID")} == {
        "Result": "Modified",
        "Source": "Portal",
        "Agent": "hall-agent",
        "Started By": "Edda",
        "Job ID": short,
    }
    (saved,) = rows(html(edda, "/jobs/manage"))
    activity = next(value for name, value in saved.items() if name.startswith("Last activity"))
    assert activity.startswith("Modified")
    assert (saved["Agent"], saved["Target"]) == ("Automatic", "Press line 1 Press hall")


def test_a_run_at_work_turns_and_says_how_far_it_is(job: Job, agent: Enrolled, edda: User) -> None:
    """S2-08, S3-44: the percentage beside the status, a spinner while the run is active."""
    factories.run(job, by=edda)
    spinner = 'class="i i-spin"'
    assert spinner in html(edda, "/jobs")
    (held,) = agent.api.claim()
    agent.api.move(held, "running", progress=40)
    page = html(edda, "/jobs")
    (mine,) = rows(page)
    assert mine["Status"] == "Running 40 %"
    assert spinner in page
    agent.api.finish(held, "failed")
    page = html(edda, "/jobs")
    (mine,) = rows(page)
    assert mine["Status"].startswith("Failed")
    assert spinner not in page


def test_what_an_agent_reported_is_on_the_summary(job: Job, agent: Enrolled, edda: User) -> None:
    """S1-24 to S1-29: summary, error and the four counts."""
    run = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    agent.api.finish(
        held,
        "failed",
        message="Stopped early.",
        summary="Three of nine were read.",
        error="The reader is jammed.",
        counts={"total": 9, "successful": 3, "failed": 1, "skipped": 5},
    )
    page = words(html(edda, f"/jobs/{run.public_id}"))
    assert "Three of nine were read." in page
    assert "Error The reader is jammed." in page
    assert "9 in all 3 successful 1 failed 5 skipped" in page


def test_records_have_a_tab_once_there_are_some(job: Job, agent: Enrolled, edda: User) -> None:
    """S1-32 to S1-39: one row for each record, in the order of the work."""
    run = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    address = f"/jobs/{run.public_id}"
    assert "?tab=details" not in html(edda, address)
    records = [
        {"sequence": 2, "record_id": "4712", "name": "Bolts", "status": "skipped"},
        {
            "sequence": 1,
            "record_id": "4711",
            "name": "Nuts",
            "status": "failed",
            "error": "No price.",
            "processed_at": "2024-12-10T04:33:00Z",
        },
        {"sequence": 3, "record_id": "4713", "status": "success", "result": "Booked."},
    ]
    sent = agent.api.post(agent.api.of(held, "records"), {"records": records})
    assert sent.json() == {"stored": 3}
    assert "?tab=details" in html(edda, address)
    told = [list(row.values()) for row in rows(html(edda, f"{address}?tab=details"))]
    assert [row[:5] for row in told] == [
        ["1", "4711", "Nuts", "Failed", "No price."],
        ["2", "4712", "Bolts", "Skipped", "–"],
        ["3", "4713", "–", "Success", "Booked."],
    ]
    assert told[0][5].startswith("10 Dec 2024, 05:33")  # the site's own time
    assert told[1][5] == "–"


def test_files_have_a_tab_once_there_are_some(job: Job, agent: Enrolled, edda: User) -> None:
    """S1-40 to S1-42: name, size, type and time of each, and its bytes."""
    run = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    address = f"/jobs/{run.public_id}"
    assert "?tab=files" not in html(edda, address)
    file = uuid.uuid4()
    leave_file(agent.api, held, file, "report.html", b"<b>All well</b>")
    (row,) = rows(html(edda, f"{address}?tab=files"))
    assert (row["Name"], row["Type"], row["Size"]) == ("report.html", "text/html", "15 B")
    assert re.match(r"\d+ \w+, \d\d:\d\d", row["Uploaded"])
    download = as_(edda).get(f"{address}/files/{file}")
    assert b"".join(download) == b"<b>All well</b>"
    assert download["Content-Disposition"].startswith("attachment")


def causes(page: str) -> dict[str, str]:
    """The likely causes as they are listed: title → how likely, and what was seen."""
    listed = page[page.index("Likely causes") : page.index("</ul>", page.index("Likely causes"))]
    found = {}
    for one in listed.split("<li>")[1:]:
        title = re.search(r'<p class="strong">(.*?)</p>', one)
        assert title
        found[title[1]] = words(one).replace(f" {title[1]}", "", 1)
    return found


@pytest.mark.parametrize(
    ("ends", "first"),
    [(deadline_over, "Timeout value too short"), (lease_over, "Agent connectivity")],
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
    assert job.run_timeout_s == 3600  # the link proposes, the person saves
    assert "Raise to" not in html(vera, f"/jobs/{run.public_id}")
    Job.objects.filter(pk=job.pk).update(run_timeout_s=5400)
    assert "Raise to" not in html(edda, f"/jobs/{run.public_id}")


@pytest.mark.parametrize("proposed", ["soon", "-1", "99999999", "NaN", "%00"])
def test_a_limit_that_is_none_is_not_proposed(proposed: str, job: Job, edda: User) -> None:
    page = html(edda, f"/jobs/manage/{job.public_id}/edit?run_timeout={proposed}")
    assert re.search(r'name="run_timeout" value="60"', page)


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
    lease_over(held)
    assert sweeps.sweep() == 1
    path = f"/jobs/{run.public_id}"
    AgentPresence.objects.update(seen_at=Now() - timedelta(minutes=5))
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
    other = factories.job(press, backup, owner=edda, name="Other", allow_overlap=True)
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
    lease_over(held)
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
    other = factories.job(press, backup, owner=edda, name="Other", allow_overlap=True)
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
    assert found["Agent connectivity"].startswith("Possible")


def test_an_agent_that_was_silent_all_the_wait_is_the_likely_cause(
    press: Target, backup: Function, job: Job, agent: Enrolled, works: Organization, hall: Site,
    alice: User, edda: User,
) -> None:  # fmt: skip
    """S0-23: a run that nobody took leads to the agent that was asked for."""
    busy = factories.enrolled(works, "busy-agent", site=hall, by=alice)
    other = factories.job(press, backup, owner=edda, name="Other", allow_overlap=True)
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
