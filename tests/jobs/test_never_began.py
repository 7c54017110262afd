"""Planned starts whose runs ended before their work had begun: nobody takes one for a backup."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest

from agents import enrolment
from jobs import sweeps, transitions
from jobs.models import Job, JobRun
from sites.models import User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.passing import deadline_over, lease_over, queue_limit_over
from tests.jobs.planned import noon, occurred, rows_of, squares
from tests.jobs.trying import begin
from tests.pages import html, words
from tests.people import API, logged_in

pytestmark = pytest.mark.django_db


def never_taken(run: JobRun, agent: Enrolled, edda: User) -> None:
    queue_limit_over(run)
    sweeps.sweep()


def taken_back(run: JobRun, agent: Enrolled, edda: User) -> None:
    transitions.cancel(run, by=edda)


def claimed_and_lost(run: JobRun, agent: Enrolled, edda: User) -> None:
    for _ in range(4):
        assert agent.api.claim()
        lease_over(run)
        sweeps.sweep()


def claimed_and_retired(run: JobRun, agent: Enrolled, edda: User) -> None:
    assert agent.api.claim()
    enrolment.retire(agent.agent, by=edda)


def begun_and_lost(run: JobRun, agent: Enrolled, edda: User) -> None:
    begin(agent)
    lease_over(run)
    sweeps.sweep()


def begun_and_too_long(run: JobRun, agent: Enrolled, edda: User) -> None:
    begin(agent)
    deadline_over(run)
    sweeps.sweep()


def begun_and_failed(run: JobRun, agent: Enrolled, edda: User) -> None:
    assert agent.api.finish(begin(agent), "failed", message="No.").status_code == 200


def waits_on(run: JobRun, agent: Enrolled, edda: User) -> None:
    sweeps.sweep()


ENDS = [
    (never_taken, "Timed Out", "No agent took it in time"),
    (taken_back, "Canceled", ""),
    (claimed_and_lost, "Timed Out", "The agent said no more of it"),
    (claimed_and_retired, "Failed", "The agent was retired"),
    (begun_and_lost, "Timed Out", None),
    (begun_and_too_long, "Timed Out", None),
    (begun_and_failed, "Failed", None),
    (waits_on, "Pending", None),
]


@pytest.mark.parametrize(("end", "chip", "why"), ENDS)
def test_a_start_whose_run_never_began_is_not_on_time(
    job: Job, agent: Enrolled, edda: User, end: Any, chip: str, why: str | None
) -> None:
    """Its run was made in time, and that is all."""
    occurred(job, noon(1, minute=1))
    skipped = occurred(job, noon(1, minute=2), "skipped")
    run = factories.run(job, by=edda)
    start = occurred(job, noon(1), run=run)
    end(run, agent, edda)
    never, day = why is not None, f"{noon(1):%A}, {noon(1).day} {noon(1):%B}"
    page = html(edda, "/jobs/planned")
    told = [row for row in rows_of(page) if row["What became of it"] != "Skipped"]
    assert [row["What became of it"] for row in told] == [
        "On time", "Never began" if never else "On time",
    ]  # fmt: skip
    assert told[1]["Why"] == (f"Its run ended before it began {why}".strip() if never else "–")
    assert told[1]["Run"] == chip
    assert squares(page)[f"{noon(1):%Y-%m-%d}"] == (
        ("never_began", f"{day}: 1 never began, 1 skipped, 1 on time !")
        if never
        else ("skipped", f"{day}: 1 skipped, 2 on time –")
    )
    legend = words(page[page.index("y-legend") : page.index("As a table")])
    assert f"{int(never)} never began" in legend
    # Programs are told the same, and neither filter of lateness lets it through.
    api, own = API(edda), str(run.public_id)
    passes = []
    for query in ("never_began=true", "never_began=false", "late=true", "late=false"):
        for one in api.get(f"occurrences?{query}").json()["results"]:
            if one["run"] == own:
                assert one["never_began"] == never
                passes.append(query)
    assert passes == (["never_began=true"] if never else ["never_began=false", "late=false"])
    # The same list as a file.
    page = html(edda, "/jobs/planned?outcome=never_began")
    link = re.search(r'href="(/api/v1/occurrences\?[^"]*)"', page)
    assert link is not None
    answer = logged_in(edda).get(link[1].replace("&amp;", "&"))
    table = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    found = [(line["run"], line["never_began"]) for line in table]
    assert found == ([(own, "true")] if never else [])
    # It is known when the run is there no more.
    JobRun.objects.filter(pk=run.pk).update(occurrence=None)
    start.refresh_from_db()
    skipped.refresh_from_db()
    assert (start.never_began, skipped.never_began) == (never, False)
    row = rows_of(html(edda, "/jobs/planned"))[-1]
    assert (row["What became of it"], row["Run"]) == ("Never began" if never else "On time", "–")
