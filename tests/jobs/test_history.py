"""Job History: what its address narrows, sorts and shows, and what it offers to whom."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import Function
from jobs.models import Job, JobRun
from jobs.pages import page_of_runs
from sites.access import set_role
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.history import ended
from tests.pages import as_, html
from tests.pages import rows as table

# The SQL is that of the API's list, whose tests run on both databases.
pytestmark = [pytest.mark.django_db, pytest.mark.once]


def rows(page: str) -> list[str]:
    """Give the ids of the runs in the order of the page."""
    return re.findall(r'<tbody id="run-([0-9a-f-]{36})"', page)


def test_each_menu_narrows_the_list_and_is_a_pill_that_can_be_removed(
    job: Job, elsewhere_job: Job, agent: Enrolled, alice: User
) -> None:
    """S1-11: filter by process; also by agent and site, all in the address."""
    mine, other = ended(job, agent, alice), factories.run(elsewhere_job, by=alice)
    everything = html(alice, "/jobs/history")
    assert rows(everything) == [str(other.public_id), str(mine.public_id)]
    for name, chosen, words in (
        ("job", job, "Process is"),
        ("agent", agent.agent, "Agent is"),
        ("site", job.site, "Site is"),
    ):
        assert f'href="?{name}={chosen.public_id}"' in everything
        page = html(alice, f"/jobs/history?outcome=failed&{name}={chosen.public_id}")
        assert rows(page) == [str(mine.public_id)]
        assert f"{words} <b>{chosen}</b>" in page
        assert 'href="?outcome=failed" aria-label="Remove' in page


def test_menus_offer_what_the_person_may_see_and_no_more(
    job: Job, elsewhere_job: Job, agent: Enrolled, vera: User
) -> None:
    page = html(vera, "/jobs/history")
    assert str(job.public_id) in page
    assert elsewhere_job.name not in page
    for hidden in (elsewhere_job, elsewhere_job.site):
        assert str(hidden.public_id) not in page
    guessed = html(vera, f"/jobs/history?job={elsewhere_job.public_id}")
    assert "This filter is not valid." in guessed
    assert elsewhere_job.name not in guessed


def test_several_statuses_may_be_ticked(job: Job, agent: Enrolled, alice: User) -> None:
    failed = ended(job, agent, alice)
    pending = factories.run(job, by=alice)
    both = html(alice, "/jobs/history?status=failed&status=pending")
    assert set(rows(both)) == {str(failed.public_id), str(pending.public_id)}
    assert "Status is <b>Pending, Failed</b>" in both or "Status is <b>Failed, Pending</b>" in both
    assert both.count('name="status" value="failed" checked') == 1
    assert rows(html(alice, "/jobs/history?status=failed")) == [str(failed.public_id)]
    # Another form of the page sends both along.
    assert both.count('<input type="hidden" name="status" value="pending">') >= 2


def test_days_are_those_of_the_sites_both_included(job: Job, alice: User) -> None:
    """S1-12: a range of days on the start; a run that never started counts by when it was made."""
    run = factories.run(job, by=alice)
    # Half past midnight of the 20th in Berlin, where the only site is.
    JobRun.objects.filter(pk=run.pk).update(created_at=datetime(2025, 11, 19, 23, 30, tzinfo=UTC))
    for query, found in (
        ("from=2025-11-20", True),
        ("from=2025-11-21", False),
        ("to=2025-11-20", True),
        ("to=2025-11-19", False),
        ("from=2025-11-20&to=2025-11-20", True),
        ("within=7", False),
    ):
        page = html(alice, f"/jobs/history?{query}")
        assert rows(page) == ([str(run.public_id)] if found else []), query
    JobRun.objects.filter(pk=run.pk).update(created_at=datetime.now(UTC) - timedelta(days=5))
    assert rows(html(alice, "/jobs/history?within=7"))
    assert not rows(html(alice, "/jobs/history?within=1"))


@pytest.mark.parametrize("text", ["yesterday", "9999-12-31", "0000-00-00", "%00", "2026-13-01"])
def test_a_day_that_is_none_is_said_to_be_wrong(text: str, job: Job, alice: User) -> None:
    factories.run(job, by=alice)
    page = html(alice, f"/jobs/history?to={text}")
    assert "This filter is not valid." in page
    assert rows(page) == []


def test_highlighted_columns_sort_both_ways_on_click(
    press: Target, backup: Function, agent: Enrolled, alice: User
) -> None:
    """S0-12: Started, Finished and Duration; the column that sorts is marked."""
    made = factories.job(press, backup, owner=alice, overlap="allow")
    runs = [str(ended(made, agent, alice, seconds).public_id) for seconds in (5, 90, 40)]
    waiting = str(factories.run(made, by=alice).public_id)
    client = as_(alice)

    def click(page: str, head: str) -> str:
        link = re.search(rf'<th class="num"[^>]*><a href="([^"]*)">{head}', page)
        assert link
        answer = client.get(f"/jobs/history{link[1].replace('&amp;', '&')}")
        return str(answer.content.decode())

    page = html(alice, "/jobs/history?columns=finished&columns=duration&columns=started")
    assert rows(page) == [waiting, *reversed(runs)]
    for head, newest_first in (
        ("Duration", [runs[1], runs[2], runs[0], waiting]),
        ("Finished", [waiting, *reversed(runs)]),
    ):
        page = click(page, head)
        assert rows(page) == newest_first
        assert re.search(rf'aria-sort="descending"><a href="[^"]*">{head}', page)
        page = click(page, head)
        assert rows(page) == list(reversed(newest_first))
        assert re.search(rf'aria-sort="ascending"><a href="[^"]*">{head}', page)
    page = click(click(page, "Started"), "Started")
    assert rows(page) == [*runs, waiting]


def test_columns_are_chosen_in_the_address(job: Job, alice: User) -> None:
    factories.run(job, by=alice)
    standard = html(alice, "/jobs/history")
    assert "<th>Agent</th>" in standard
    assert "<th>Robot</th>" not in standard
    page = html(alice, "/jobs/history?columns=process&columns=robot&columns=nonsense")
    heads = re.findall(r"<th>(\w+)</th>", page)
    assert heads == ["Process", "Robot"]
    cells = page[page.index("<tbody") : page.index("</tbody>")].count("<td")
    assert cells == len(heads) + 2  # the caret before them, the button behind
    assert html(alice, "/jobs/history?columns=nonsense").count("<th") == standard.count("<th")


def test_the_columns_of_an_organizations_table_are_on_offer(
    job: Job, agent: Enrolled, alice: User
) -> None:
    """S2-03, S2-10 to S2-12: Type, Start, End, Updated; each a column that can be chosen."""
    run = ended(job, agent, alice)
    JobRun.objects.filter(pk=run.pk).update(
        type="Seed",
        started_at=datetime(2025, 1, 2, 3, 4, tzinfo=UTC),
        finished_at=datetime(2025, 2, 3, 4, 5, tzinfo=UTC),
        updated_at=datetime(2025, 3, 4, 5, 6, tzinfo=UTC),
    )
    offered = html(alice, "/jobs/history")
    path = "/jobs/history?columns=process"
    for name in ("type", "began", "finished", "updated"):
        assert f'name="columns" value="{name}">' in offered
        path += f"&columns={name}"
    (row,) = table(html(alice, path))
    assert row["Type"] == "Seed"
    (zone,) = {head.partition(", ")[2] for head in row if ", " in head}
    assert row[f"Began, {zone}"] == "2 Jan 2025, 04:04"
    assert row[f"Finished, {zone}"] == "3 Feb 2025, 05:05"
    assert row[f"Updated, {zone}"] == "4 Mar 2025, 06:06"


def counts(user: User, query: str = "") -> dict[str, str]:
    """What the page fetches for its head and its tabs."""
    page = as_(user).get(f"/jobs/history?counts=1{query}", headers={"HX-Request": "true"})
    found = re.findall(r'id="(?:count-)?(\w+)"[^>]*>([^<]*)<', page.content.decode())
    return dict(found)


def test_the_head_counts_what_the_list_holds(
    job: Job, elsewhere_job: Job, agent: Enrolled, alice: User, edda: User, mia: User
) -> None:
    """The total of the open tab, and each outcome, of what the person may see."""
    assert "counts=1" in html(alice, "/jobs/history?search=press")
    for by in (alice, edda, alice):
        ended(job, agent, by)
    factories.run(elsewhere_job, by=alice)
    none = {"success": "0", "partial": "0", "cancelled": "0"}
    assert counts(alice) == none | {"total": "4 runs", "failed": "3"}
    assert counts(alice, "&outcome=failed") == none | {"total": "3 runs", "failed": "3"}
    assert counts(alice, "&search=yard") == none | {"total": "1 run", "failed": "0"}
    assert counts(edda) == none | {"total": "3 runs", "failed": "3"}
    assert counts(mia)["total"] == "0 runs"


@pytest.mark.parametrize("who", ["alice", "edda"])
def test_beyond_the_most_a_number_is_at_least_so_many(
    who: str, request: pytest.FixtureRequest, job: Job, agent: Enrolled, edda: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """No more is read than the newest so many, by whoever may see them."""
    user = request.getfixturevalue(who)
    for _ in range(4):
        ended(job, agent, edda)
    factories.run(job, by=edda)
    monkeypatch.setattr("jobs.pages.MOST", 2)
    monkeypatch.setattr("jobs.pages.FEW", 2)
    found = counts(user)
    assert found["total"] == "2+ runs"
    assert found["success"] == ""  # whether there are none is not known
    monkeypatch.setattr("jobs.pages.MOST", 50)
    assert counts(user)["total"] == "5 runs"


@pytest.mark.parametrize("who", ["alice", "edda", "vera"])
def test_a_number_that_is_whole_has_no_plus(
    who: str, request: pytest.FixtureRequest, yard: Site, job: Job, agent: Enrolled, edda: User,
    alice: User, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Exactly the most, whatever the person was granted; and of any history a list of one page."""
    user = request.getfixturevalue(who)
    if who != "alice":
        # More ways to see runs than there are runs to be looked at on each.
        for number in range(6):
            set_role(user, "viewer", on=factories.target(yard, f"Crane {number}"))
    for _ in range(4):
        ended(job, agent, edda)
    monkeypatch.setattr("jobs.pages.MOST", 4)
    monkeypatch.setattr("jobs.pages.FEW", 2)
    assert counts(user)["total"] == "4 runs"
    assert counts(user)["failed"] == "4"
    oldest = JobRun.objects.order_by("created_at").first()
    assert oldest
    JobRun.objects.filter(pk=oldest.pk).update(name="Needle")
    ended(job, agent, edda)
    found = counts(user)
    assert (found["total"], found["failed"], found["success"]) == ("4+ runs", "4+", "")
    # Older than all that is looked at.
    found = counts(user, "&search=needle")
    assert (found["total"], found["failed"], found["success"]) == ("1 run", "1", "0")
    assert counts(user, "&search=nothing")["total"] == "0 runs"
    waiting = factories.run(job, by=edda)
    assert counts(user, "&outcome=running")["total"] == "1 run"
    assert counts(user, "&outcome=success")["total"] == "0 runs"
    assert counts(user, "&outcome=failed")["total"] == "4+ runs"
    assert waiting.status == "pending"


@pytest.mark.parametrize("who", ["alice", "edda", "vera"])
def test_all_filters_at_once_stay_within_the_budget(
    who: str, request: pytest.FixtureRequest, job: Job, agent: Enrolled, edda: User,
    django_assert_max_num_queries: object,
) -> None:  # fmt: skip
    """At most 12 queries, however many rows and filters."""
    client = as_(request.getfixturevalue(who))
    path = (
        f"/jobs/history?job={job.public_id}&agent={agent.agent.public_id}&site={job.site.public_id}"
        "&status=failed&status=pending&within=30&ordering=-duration&search=press"
    )
    for number in (1, 3):
        for _ in range(number):
            ended(job, agent, edda, 1)
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            page = client.get(path).content.decode()
        assert len(rows(page)) == (1 if number == 1 else 4)
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            assert client.get(f"{path}&counts=1").status_code == 200


@pytest.mark.parametrize(
    "order",
    [
        "-created",
        "created",
        "-started",
        "started",
        "-finished",
        "finished",
        "-duration",
        "duration",
    ],
)
def test_each_sort_reads_along_an_index(
    order: str, job: Job, works: Organization, alice: User
) -> None:
    """Nothing is sorted: the first page of a million runs costs what that of ten does."""
    factories.run(job, by=alice)
    JobRun.objects.filter(job=job).update(status="failed", finished_at=datetime.now(UTC))
    for _ in range(3):
        run = factories.run(job, by=alice)
        JobRun.objects.filter(pk=run.pk).update(status="failed", finished_at=datetime.now(UTC))
    runs = JobRun.objects.filter(organization=works)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # A table of four rows is sorted faster than its index is read.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute("SET LOCAL enable_sort = off")
    with CaptureQueriesContext(connection) as asked:
        first = page_of_runs(alice, runs, size=2, order=order)
        page_of_runs(alice, runs, size=2, order=order, cursor=first.older)
    index = {
        "created": "run_of_organization",
        "started": "run_by_start",
        "finished": "run_by_end",
        "duration": "run_by_duration",
    }
    keyed = [
        one["sql"]
        for one in asked.captured_queries
        if "_at" in one["sql"] and "LIMIT" in one["sql"]
    ]
    assert len(keyed) == 2
    for sql in keyed:
        with connection.cursor() as cursor:
            plan = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
            cursor.execute(plan + sql)
            said = "\n".join(" ".join(map(str, line)) for line in cursor.fetchall())
        assert index[order.lstrip("-")] in said, said
