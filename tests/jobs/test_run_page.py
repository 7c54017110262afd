"""What the lists and the page of a run say about it, field by field, as its viewer reads them."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents.models import AgentPool, AgentPresence, Function
from jobs import sweeps
from jobs.models import Job, JobRun
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.backups import back_up, leave_file
from tests.factories import Enrolled
from tests.jobs.passing import queue_limit_over
from tests.pages import as_, causes, facts, html, rows, words

pytestmark = [pytest.mark.django_db, pytest.mark.once]


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
        "Longest wait": "24 h",
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
    for one in (run, for_fast):
        assert says(edda, one) == "An agent is about to take it."
    kept.restricted = True
    kept.save()
    assert agent.api.claim(8) == []
    assert says(edda, run).startswith(
        "Each agent of the site that has folder.backup is in a restricted pool now, which takes no"
        " automatic runs. Cancel it and choose one of those agents or its pool"
    )
    assert says(edda, for_fast).startswith(
        "Each agent of the pool fast that has folder.backup is in a restricted pool now, which"
        " takes no runs of an open one. Cancel it and choose one of those agents or its pool"
    )
    queue_limit_over(run)
    assert sweeps.sweep() == 1
    page = html(edda, f"/jobs/{run.public_id}")
    assert next(iter(causes(page))) == "Agent issue"
    assert "is in a restricted pool now" in page
    kept.restricted = False
    kept.save()
    assert says(edda, for_fast) == "An agent is about to take it."


def test_a_run_whose_agent_cannot_take_it_any_more_says_so(
    press: Target, backup: Function, agent: Enrolled, edda: User
) -> None:
    job = factories.job(press, backup, owner=edda, assignment="agent", agent=agent.agent)
    run = factories.run(job, by=edda)
    assert says(edda, run) == "hall-agent is about to take it."
    hello = {"version": "1", "platform": "", "tools": []}
    assert agent.api.post("hello", hello).status_code == 200
    assert says(edda, run).startswith(
        "hall-agent does not have folder.backup now. Give hall-agent the tool folder, or cancel it,"
    )


def test_the_columns_of_the_lists(job: Job, agent: Enrolled, edda: User) -> None:
    """One row for each job and each run.

    S0-01, S0-05, S0-07, S1-03 to S1-05, S1-07, S1-09, S2-02, S2-04, S2-05, S2-09, S3-04 to S3-07.
    """
    run = factories.run(job, by=edda)
    short = f"{str(run.public_id)[:6]}…"
    (mine,) = rows(html(edda, "/jobs"))
    assert mine["Tool / Function"] == "folder.backup Press line 1 backup, Press line 1"
    assert (mine["Job ID"], mine["Status"]) == (short, "Pending about to be taken")
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
