"""What became of planned starts: the calendar, the list, and the file."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import ledger, planning
from jobs.models import Job, JobRun, Occurrence
from sites import sql
from sites.models import Site, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.planned import BERLIN, noon, occurred, rows_of, squares
from tests.pages import admin_path, as_, html, rows, words
from tests.people import logged_in

pytestmark = pytest.mark.django_db


def test_each_day_shows_the_worst_that_became_of_its_starts(job: Job, edda: User) -> None:
    for ago, fates in (
        (1, ["ran", "ran"]),
        (2, ["ran", "late"]),
        (3, ["late", "skipped"]),
        (4, ["ran", "skipped", "never_began", "missed"]),
    ):
        for number, fate in enumerate(fates):
            at = noon(ago, minute=number)
            if fate in ("ran", "late"):
                occurred(job, at, late_s=61 if fate == "late" else 60)
            elif fate == "never_began":
                occurred(job, at, late_s=61, never_began=True)
            else:
                occurred(job, at, fate)
    page = html(edda, "/jobs/planned")
    shown = squares(page)
    told = [shown[f"{noon(ago):%Y-%m-%d}"] for ago in (1, 2, 3, 4)]
    day = [f"{noon(ago):%A}, {noon(ago).day} {noon(ago):%B}" for ago in (1, 2, 3, 4)]
    assert told == [
        ("ran", f"{day[0]}: 2 on time"),
        ("late", f"{day[1]}: 1 late, 1 on time +"),
        ("skipped", f"{day[2]}: 1 skipped, 1 late –"),
        ("missed", f"{day[3]}: 1 missed, 1 never began, 1 skipped, 1 on time ×"),
    ]
    assert len(shown) == 4
    # The same as a table, the newest first, and as sums.
    table = page[page.index("As a table") :]
    cells = [list(row.values())[1:] for row in rows(table)]
    assert cells == [
        ["2", "0", "0", "0", "0"],
        ["1", "1", "0", "0", "0"],
        ["0", "1", "1", "0", "0"],
        ["1", "0", "1", "1", "1"],
    ]
    legend = words(page[page.index("y-legend") : page.index("As a table")])
    for told_sum in ("1 missed", "1 never began", "2 skipped", "2 late", "4 on time"):
        assert told_sum in legend


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Asia/Kathmandu", date(2026, 3, 29), 24),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
    ],
)
def test_a_day_is_as_long_as_the_zones_clocks_have_it(
    job: Job, alice: User, zone: str, day: date, hours: float
) -> None:
    begins = ledger.midnight(day, ZoneInfo(zone))
    ends = begins + timedelta(hours=hours)
    for at in (begins - timedelta(milliseconds=1), begins, ends - timedelta(milliseconds=1), ends):
        occurred(job, at)
    found = ledger.calendar(
        alice, Occurrence.objects.all(), ledger.month_of(day, day + ledger.WEEK), ZoneInfo(zone), ""
    )
    counted = {one.day: one.ran for week in found.weeks for one in week if one.ran}
    assert counted == {day - ledger.DAY: 1, day: 2, day + ledger.DAY: 1}
    assert found.total.planned == 4


def test_days_are_those_of_the_site_that_is_shown_else_of_utc(
    job: Job, works: Any, backup: Any, alice: User
) -> None:
    """At 23:30 UTC it is tomorrow in Tokyo."""
    tokyo = factories.site(works, "Tokyo plant", "Asia/Tokyo")
    far = factories.job(factories.target(tokyo, "Press"), backup, owner=alice)
    at = (datetime.now(UTC) - timedelta(days=3)).replace(hour=23, minute=30)
    occurred(far, at)
    today, tomorrow = f"{at:%Y-%m-%d}", f"{at + timedelta(days=1):%Y-%m-%d}"
    page = html(alice, "/jobs/planned")
    assert squares(page).keys() == {today}
    assert "one square a day, UTC" in page
    for query in (f"site={tokyo.public_id}", f"job={far.public_id}"):
        page = html(alice, f"/jobs/planned?{query}")
        assert squares(page).keys() == {tomorrow}
        assert "one square a day, Asia/Tokyo" in page
        # The square leads to that day's list, in the same days.
        assert (
            len(rows_of(html(alice, f"/jobs/planned?{query}&from={tomorrow}&to={tomorrow}"))) == 1
        )
        assert rows_of(html(alice, f"/jobs/planned?{query}&from={today}&to={today}")) == []


def test_the_list_says_what_became_of_each_start_and_leads_to_its_run(
    job: Job, agent: Enrolled, edda: User
) -> None:
    run = factories.run(job, by=edda)
    late = occurred(job, noon(1), late_s=125, run=run)
    JobRun.objects.filter(pk=run.pk).update(started_at=late.planned_at + timedelta(seconds=140))
    occurred(job, noon(2), "skipped")
    page = html(edda, "/jobs/planned")
    first, second = rows_of(page)
    assert (first["What became of it"], first["Began after"]) == ("Late", "2 min 20 s")
    assert first["Why"] == "Its run was made 2 min 05 s after its time"
    assert first["Run"] == "Pending"
    assert f'href="/jobs/{run.public_id}"' in page
    assert second["Why"] == "The run before it was still at work It was skipped."
    assert (second["Began after"], second["Run"]) == ("–", "–")
    assert first["Job"] == f"{job.name} Press line 1, Press hall"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["missed", "skipped", "late", "ran", "never_began"]),
        ("outcome=ran", ["ran"]),
        ("outcome=late", ["late"]),
        ("outcome=skipped", ["skipped"]),
        ("outcome=never_began", ["never_began"]),
        ("outcome=missed", ["missed"]),
        ("outcome=nonsense", ["missed", "skipped", "late", "ran", "never_began"]),
        ("reason=overlap", ["skipped"]),
        ("within=1", ["missed"]),
        ("from={two}", ["missed", "skipped"]),
        ("to={three}", ["late", "ran", "never_began"]),
        ("job={other}", []),
        ("site={yard}", []),
        ("month=2019-13", None),
        ("from=yesterday", None),
        ("job=00000000-0000-4000-8000-000000000000", None),
    ],
)
def test_the_list_is_narrowed(
    job: Job, elsewhere_job: Job, yard: Site, alice: User, query: str, expected: list[str] | None
) -> None:
    for ago, fate in ((0, "missed"), (2, "skipped"), (3, "late"), (4, "ran")):
        at = sql.clock() if not ago else noon(ago)
        if fate in ("late", "ran"):
            occurred(job, at, late_s=200 if fate == "late" else 0)
        else:
            occurred(job, at, fate)
    # Whatever else it was: each start has one fate.
    occurred(job, noon(5), late_s=200, never_began=True)
    ids = {"other": elsewhere_job.public_id, "yard": yard.public_id}
    days = {"two": f"{noon(2):%Y-%m-%d}", "three": f"{noon(3):%Y-%m-%d}"}
    page = html(alice, f"/jobs/planned?{query.format(**ids, **days)}")
    told = [row["What became of it"] for row in rows_of(page)]
    names = {"ran": "On time", "never_began": "Never began"}
    assert told == [names.get(fate, fate.capitalize()) for fate in expected or ()]
    assert ("This filter is not valid." in page) == (expected is None)


def test_only_starts_whose_runs_one_may_see_are_counted_and_listed(
    job: Job, elsewhere_job: Job, cast: dict[str, User]
) -> None:
    """Rule 2: a manager without a grant has their own; Oscar belongs elsewhere."""
    occurred(job, noon(1))
    occurred(elsewhere_job, noon(2))
    own = factories.job(elsewhere_job.target, job.function, owner=cast["manuel"], name="Own")
    occurred(own, noon(3))
    expected = {"alice": [1, 2, 3], "edda": [1], "vera": [1], "manuel": [3], "mia": [], "oscar": []}
    for name, days in expected.items():
        page = html(cast[name], "/jobs/planned")
        wanted = {f"{noon(ago):%Y-%m-%d}" for ago in days}
        assert len(rows_of(page)) == len(days), name
        assert (squares(page).keys() if days else set()) == wanted, name
    # Whose job one may not see, its start is no link.
    link = f'href="/jobs/manage/{own.public_id}"'
    assert link in html(cast["manuel"], "/jobs/planned")
    Occurrence.objects.filter(job=own).update(starter=cast["mia"])
    page = html(cast["mia"], "/jobs/planned")
    assert [row["Job"] for row in rows_of(page)] == ["Own Yard crane, Yard"]
    assert link not in page
    # A job that one sees shows no start that one may not see.
    page = html(cast["manuel"], f"/jobs/manage/{job.public_id}")
    assert "Planned starts</h2>" not in page


def test_a_month_is_shown_and_the_ones_beside_it(job: Job, edda: User) -> None:
    occurred(job, datetime(2026, 2, 28, 12, tzinfo=BERLIN))
    occurred(job, datetime(2026, 3, 1, 12, tzinfo=BERLIN))
    page = html(edda, "/jobs/planned?month=2026-02")
    assert squares(page).keys() == {"2026-02-28"}
    assert "February 2026" in page
    assert "month=2026-01" in page
    assert "month=2026-03" in page
    # It is December there already.
    Site.objects.update(time_zone="Pacific/Apia")
    with time_machine.travel(datetime(2026, 11, 30, 12, tzinfo=UTC)):
        assert "month=2026-12" in html(edda, "/jobs/planned?month=2026-11")


def test_pages_follow_each_other_by_key(job: Job, edda: User) -> None:
    for minute in range(30):
        occurred(job, noon(1, minute=minute))
    page = html(edda, "/jobs/planned?size=25")
    older = re.search(r'href="(\?[^"]*cursor=[^"]*)"', page)
    assert older is not None
    assert len(rows_of(page)) == 25
    rest = html(edda, f"/jobs/planned{older[1].replace('&amp;', '&')}")
    assert len(rows_of(rest)) == 5


def test_the_button_leads_to_the_same_list_as_a_file(job: Job, edda: User, manuel: User) -> None:
    """Cells that a spreadsheet would take for a formula are guarded, as in every file."""
    Job.objects.filter(pk=job.pk).update(name="=cmd()")
    occurred(job, noon(1), late_s=100)
    occurred(job, noon(2), "missed")
    occurred(job, noon(3))
    page = html(edda, f"/jobs/planned?outcome=late&from={noon(5):%Y-%m-%d}")
    link = re.search(r'href="(/api/v1/occurrences\?[^"]*)"', page)
    assert link is not None
    answer = logged_in(edda).get(link[1].replace("&amp;", "&"))
    assert answer.status_code == 200
    table = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [(row["job.name"], row["late_s"]) for row in table] == [("'=cmd()", "100")]


def test_a_jobs_page_shows_its_own_starts(job: Job, elsewhere_job: Job, edda: User) -> None:
    for ago in range(8):
        occurred(job, noon(ago, hour=1), "skipped" if ago == 3 else "started")
    page = html(edda, f"/jobs/manage/{job.public_id}")
    part = page[page.index('id="job-planned"') :]
    assert squares(part)[f"{noon(3):%Y-%m-%d}"][0] == "skipped"
    assert f'href="/jobs/planned?job={job.public_id}"' in part
    last = part[part.index("</details>") :]
    assert len(rows(last)) == 5


@pytest.mark.once
def test_the_admin_shows_both_to_administrators_and_changes_neither(
    job: Job, cast: dict[str, User], django_assert_num_queries: Any
) -> None:
    planned = planning.of_site(job.site)
    planned.schedule_kind, planned.schedule_time = "daily", time(2)
    planning.save_for_site(planned)
    start = occurred(job, noon(1), late_s=100, run=factories.run(job, by=cast["edda"]))
    never = occurred(job, noon(4), never_began=True)
    shown = ((start, "Late"), (never, "Never began"), (planned, "Every day at 02:00"))
    for row, words_there in shown:
        listed = html(cast["alice"], admin_path(row, "changelist"))
        assert words_there in listed
        page = html(cast["alice"], admin_path(row, "change", row.pk))
        assert words_there in page
        assert 'name="_save"' not in page
        for name in ("vera", "manuel"):
            answer = as_(cast[name]).get(admin_path(row, "changelist"))
            assert answer.status_code in (302, 403, 404), name
        answer = as_(cast["oscar"]).get(admin_path(row, "change", row.pk))
        assert answer.status_code in (302, 404)
    client = as_(cast["alice"])
    for minute in range(2):
        with django_assert_num_queries(7):
            client.get(admin_path(start, "changelist"))
        occurred(job, noon(2, minute=minute))
        occurred(job, noon(3, minute=minute))


@pytest.mark.parametrize(("who", "queries"), [("alice", 10), ("edda", 10), ("manuel", 10)])
@pytest.mark.once
def test_the_page_costs_the_same_with_more_starts(
    cast: dict[str, User], job: Job, who: str, queries: int, django_assert_num_queries: Any
) -> None:
    """Session, person, membership, organization, grants; then menus, page, rows, which of their
    jobs one may see, calendar."""
    client = as_(cast[who])
    Job.objects.filter(pk=job.pk).update(owner=cast[who])
    job.refresh_from_db()
    client.get("/jobs/planned")
    for number in (1, 3):
        for minute in range(number):
            run = factories.run(
                factories.job(job.target, job.function, owner=cast[who], name=f"{number}{minute}"),
                by=cast["edda"],
            )
            occurred(job, noon(number, minute=minute), run=run)
        with django_assert_num_queries(queries):
            assert client.get("/jobs/planned").status_code == 200


@pytest.mark.postgres
def test_the_calendar_counts_along_indexes_whatever_their_length(job: Job, alice: User) -> None:
    """All starts of a day from the index alone, and no row but of the unusual ones."""
    fields = {"organization": job.organization, "site": job.site, "target": job.target, "job": job}
    Occurrence.objects.bulk_create(
        (
            Occurrence(
                **fields,
                starter=alice,
                planned_at=noon(number // 100, minute=0) - timedelta(seconds=number % 100),
                outcome="missed" if number % 500 == 0 else "started",
                reason="too_late" if number % 500 == 0 else "",
            )
            for number in range(20_000)
        ),
        batch_size=2_000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_occurrence")
    here = Occurrence.objects.filter(organization=job.organization)
    span = ledger.last_weeks(noon(0).date())
    with CaptureQueriesContext(connection) as asked:
        assert ledger.calendar(alice, here, span, BERLIN, "").total.planned > 7_000
    [counting] = [one["sql"] for one in asked if "days.number" in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + counting.replace("%", "%%"))
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Only Scan using occurrence_of_org" in plan, plan
    assert "using occurrence_unusual" in plan, plan
    assert "Seq Scan on jobs_occurrence" not in plan, plan
