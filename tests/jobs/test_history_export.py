"""Job History as a file: what it holds, for whom, and that one person has one at once."""

from __future__ import annotations

import csv
import io
import re

import pytest
from django.core.signals import request_finished

from agents.models import Function
from jobs.models import Job, JobRun
from sites.models import Target, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.history import ended
from tests.pages import as_, html

# The SQL is that of the list.
pytestmark = [pytest.mark.django_db, pytest.mark.once]


def exported(user: User, query: str = "") -> list[dict[str, str]]:
    answer = as_(user).get(f"/jobs/history/export{query}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="job-history-[0-9-]{10}\.csv"', answer.headers["Content-Disposition"]
    )
    text = b"".join(answer).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_list_leaves_as_csv_narrowed_sorted_and_as_far_as_one_sees(
    job: Job, elsewhere_job: Job, agent: Enrolled, alice: User, edda: User, mia: User
) -> None:
    slow, quick = ended(job, agent, edda, 90.5), ended(job, agent, edda, 2)
    waiting, other = factories.run(job, by=edda), factories.run(elsewhere_job, by=alice)
    everything = [str(run.public_id) for run in (other, waiting, quick, slow)]
    assert [row["Job ID"] for row in exported(alice)] == everything
    assert [row["Job ID"] for row in exported(edda)] == everything[1:]
    assert exported(mia) == []
    found = exported(alice, "?outcome=failed&ordering=-duration&size=25&columns=process")
    assert [row["Job ID"] for row in found] == [str(slow.public_id), str(quick.public_id)]
    row = found[0]
    assert {name: row[name] for name in ("Status", "Process", "Target", "Agent", "Started By")} == {
        "Status": "Failed",
        "Process": job.name,
        "Target": "Press line 1",
        "Agent": "hall-agent",
        "Started By": "Edda",
    }
    assert (row["Duration (s)"], row["Source"], row["Result"]) == ("90.5", "Portal", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["Finished"])
    page = html(alice, "/jobs/history?outcome=failed")
    assert 'href="/jobs/history/export?outcome=failed"' in page


def test_no_cell_of_the_export_is_a_formula(job: Job, agent: Enrolled, edda: User) -> None:
    run = ended(job, agent, edda)
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"):
        JobRun.objects.filter(pk=run.pk).update(message=text, name=text, robot=text)
        (row,) = exported(edda)
        assert {row["Message"], row["Process"], row["Robot"]} == {f"'{text}"}
    JobRun.objects.filter(pk=run.pk).update(message='Two\nlines, "quoted"', duration_s=-1)
    (row,) = exported(edda)
    assert row["Message"] == 'Two\nlines, "quoted"'
    assert row["Duration (s)"] == "-1.0"  # a number stays one


def test_the_export_holds_the_newest_and_says_so(
    job: Job, agent: Enrolled, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [str(ended(job, agent, edda, 9 - at).public_id) for at in range(3)]
    page = html(edda, "/jobs/history")
    assert "The file holds at most the newest 100,000." in page
    assert [row["Job ID"] for row in exported(edda)] == made[::-1]
    monkeypatch.setattr("jobs.export.MOST", 3)
    assert len(exported(edda)) == 3
    monkeypatch.setattr("jobs.export.MOST", 2)
    last = "Only the newest 2 runs are in this file: narrow the list for older ones."
    for query, ids in (
        ("", [made[2], made[1]]),
        ("?ordering=created", [made[1], made[2]]),
        ("?ordering=duration", [made[2], made[1]]),
        ("?ordering=-duration", [made[1], made[2]]),
    ):
        assert [row["Job ID"] for row in exported(edda, query)] == [*ids, last], query


@pytest.mark.parametrize("order", ["-created", "created", "started", "-started", "-finished"])
def test_what_happens_during_an_export_doubles_no_run_and_leaves_none_out(
    order: str, press: Target, backup: Function, agent: Enrolled, edda: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("jobs.export.AT_ONCE", 2)
    monkeypatch.setattr("jobs.pages.PAGE", 2)
    made = factories.job(press, backup, owner=edda, overlap="allow")
    for _ in range(3):
        ended(made, agent, edda)
    for _ in range(3):
        factories.run(made, by=edda)
    before = {str(run.public_id) for run in JobRun.objects.all()}
    answer = as_(edda).get(f"/jobs/history/export?ordering={order}")
    lines = iter(answer)
    text = b"".join(next(lines) for _ in range(3))
    for held in agent.api.claim(8):
        agent.api.move(held, "running")
        agent.api.finish(held, "failed")
    factories.run(made, by=edda)
    text += b"".join(lines)
    found = csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""))
    ids = [row["Job ID"] for row in found]
    assert len(ids) == 6
    assert set(ids) == before


def test_a_person_has_one_export_at_once(
    job: Job, agent: Enrolled, alice: User, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(job, agent, edda)
    client, path = as_(edda), "/jobs/history/export"
    for breaks_off in (False, True):
        first = client.get(path)
        lines = iter(first)
        next(lines)
        second = client.get(f"{path}?outcome=failed")
        assert second.status_code == 429
        assert second.headers["Retry-After"] == "30"
        page = second.content.decode()
        assert "Another export of yours is being sent" in page
        assert 'href="/jobs/history?outcome=failed">Back to Job History' in page
        assert len(exported(alice)) == 1
        if breaks_off:
            with monkeypatch.context() as patch:
                # What else happens then would close the test's own connection.
                patch.setattr(request_finished, "send", lambda **_: [])
                first.close()
        else:
            list(lines)
        assert len(exported(edda)) == 1


def test_filters_that_are_not_valid_are_told_by_the_list(job: Job, alice: User) -> None:
    answer = as_(alice).get("/jobs/history/export?to=yesterday&outcome=failed")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/jobs/history?to=yesterday&outcome=failed"
