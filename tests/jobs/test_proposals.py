"""Changes that wait for a person: accepted or rejected with a reason, once, or overtaken."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.urls import reverse

from agents.models import Function
from jobs.models import Job, JobRun, Proposal
from sites.models import Event, Site, Target, User
from tests import factories
from tests.backups import back_up, send
from tests.factories import Enrolled
from tests.pages import as_, html
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def careful(job: Job) -> Job:
    """Edda's backup of the press, which accepts nothing by itself."""
    job.auto_commit = False
    job.save()
    return job


def found(job: Job, agent: Enrolled, by: User, text: bytes) -> JobRun:
    """A backup that found this."""
    run = factories.run(job, by=by)
    back_up(agent.api, {"main.st": text})
    run.refresh_from_db()
    return run


def decide(by: User, run: JobRun, word: str, comment: str = "As ordered.") -> Any:
    return API(by).post(f"runs/{run.public_id}/{word}", {"comment": comment})


def kinds_since(number: int) -> list[str]:
    return [event.kind for event in Event.objects.order_by("id")[number:]]


def test_accepting_makes_it_the_accepted_backup(
    careful: Job, agent: Enrolled, press: Target, edda: User, alice: User
) -> None:
    """Domain rule 10: with a comment, and it is kept who did it and when."""
    run = found(careful, agent, edda, b"1")
    told = API(edda).get(f"runs/{run.public_id}").json()["proposal"]
    assert (told["state"], told["comment"], told["decided_by"]) == ("open", "", None)
    press.refresh_from_db()
    assert press.accepted_snapshot_id is None
    before = Event.objects.count()
    answer = decide(alice, run, "accept", " New limit of the line. ")
    assert answer.status_code == 200
    told = answer.json()["proposal"]
    assert (told["state"], told["comment"]) == ("accepted", "New limit of the line.")
    assert told["decided_by"]["name"] == "Alice"
    assert told["decided_at"] is not None
    assert kinds_since(before) == ["run.accepted"]
    press.refresh_from_db()
    run.refresh_from_db()
    assert run.snapshot is not None
    assert press.accepted_snapshot == run.snapshot
    assert run.snapshot.accepted_at is not None
    # What is accepted is what the next backup is held against.
    assert found(careful, agent, edda, b"1").result == "up_to_date"
    assert Proposal.objects.count() == 1


def test_rejecting_changes_nothing_and_is_recorded(
    careful: Job, agent: Enrolled, press: Target, edda: User
) -> None:
    decide(edda, found(careful, agent, edda, b"1"), "accept")
    press.refresh_from_db()
    accepted = press.accepted_snapshot_id
    run = found(careful, agent, edda, b"2")
    before = Event.objects.count()
    assert decide(edda, run, "reject", "Nobody ordered it.").status_code == 200
    assert kinds_since(before) == ["run.rejected"]
    press.refresh_from_db()
    assert press.accepted_snapshot_id == accepted
    page = html(edda, f"/jobs/{run.public_id}?tab=history")
    assert "Nobody ordered it." in page
    assert "Change rejected" in page
    assert "Edda has rejected the change" in page


@pytest.mark.parametrize("first", ["accept", "reject"])
@pytest.mark.parametrize("second", ["accept", "reject"])
def test_it_is_decided_once(
    careful: Job, agent: Enrolled, edda: User, alice: User, first: str, second: str
) -> None:
    run = found(careful, agent, edda, b"1")
    assert decide(edda, run, first).status_code == 200
    kept = Proposal.objects.values().get()
    answer = decide(alice, run, second)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_decided")
    assert answer.json()["detail"] == f"Edda has {first}ed this change already."
    assert Proposal.objects.values().get() == kept


@pytest.mark.parametrize("word", ["accept", "reject"])
@pytest.mark.parametrize("comment", ["", "  ", "x" * 2_001, None])
def test_a_decision_says_why(
    careful: Job, agent: Enrolled, edda: User, word: str, comment: str | None
) -> None:
    run = found(careful, agent, edda, b"1")
    body = {} if comment is None else {"comment": comment}
    answer = API(edda).post(f"runs/{run.public_id}/{word}", body)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == ["comment"]
    assert Proposal.objects.get().state == "open"


def test_a_newer_proposal_takes_the_place_of_an_older_one(
    careful: Job, agent: Enrolled, edda: User
) -> None:
    old = found(careful, agent, edda, b"1")
    before = Event.objects.count()
    new = found(careful, agent, edda, b"2")
    assert [kind for kind in kinds_since(before) if kind == "run.superseded"] != []
    assert Proposal.objects.get(run=old).superseded_by == Proposal.objects.get(run=new)
    answer = decide(edda, old, "accept")
    assert (answer.status_code, answer.json()["code"]) == (409, "superseded")
    assert answer.json()["run"] == str(new.public_id)
    page = html(edda, f"/jobs/{old.public_id}?tab=history")
    assert f'A <a href="/jobs/{new.public_id}">newer backup</a> took its place.' in page
    assert decide(edda, new, "accept").status_code == 200


@pytest.mark.parametrize("at_once", [False, True])
def test_a_newer_backup_that_proposes_nothing_ends_the_wait_too(
    careful: Job, agent: Enrolled, press: Target, edda: User, at_once: bool
) -> None:
    """The target is as accepted again, or what it has now was accepted at once."""
    decide(edda, found(careful, agent, edda, b"1"), "accept")
    older = found(careful, agent, edda, b"2")
    careful.auto_commit = at_once
    careful.save()
    newer = found(careful, agent, edda, b"3" if at_once else b"1")
    assert newer.result == ("modified" if at_once else "up_to_date")
    refused = decide(edda, older, "accept")
    assert (refused.status_code, refused.json()["code"]) == (409, "superseded")
    assert "no longer found this change" in refused.json()["detail"]
    assert "A newer backup no longer found it." in html(
        edda, f"/jobs/{older.public_id}?tab=history"
    )
    assert Proposal.objects.filter(state=Proposal.State.OPEN).count() == 0
    press.refresh_from_db()
    accepted = press.accepted_snapshot
    assert accepted is not None
    assert accepted.pk == (newer.snapshot_id if at_once else newer.base_snapshot_id)


def test_what_was_compared_with_must_still_be_accepted(
    careful: Job, agent: Enrolled, press: Target, backup: Function, edda: User
) -> None:
    """Else a change that another backup found in between would be stepped back unseen."""
    careful.overlap = "allow"
    careful.save()
    run = factories.run(careful, by=edda)
    [slow] = agent.api.claim()
    agent.api.move(slow, "running")
    send(agent.api, slow, {"main.st": b"1"})
    other = factories.job(press, backup, owner=edda, name="Hourly", overlap="allow")
    found(other, agent, edda, b"2")
    assert agent.api.finish(slow).status_code == 200
    press.refresh_from_db()
    accepted = press.accepted_snapshot_id
    assert accepted is not None
    answer = decide(edda, run, "accept")
    assert (answer.status_code, answer.json()["code"]) == (409, "base_changed")
    assert "Back it up again" in answer.json()["detail"]
    press.refresh_from_db()
    assert press.accepted_snapshot_id == accepted
    page = html(edda, f"/jobs/{run.public_id}")
    assert "Accept the change" not in page
    assert "Another backup was accepted since" in html(edda, "/jobs/proposals")
    assert decide(edda, run, "reject").status_code == 200


def test_a_run_that_proposes_nothing_is_not_decided(job: Job, agent: Enrolled, edda: User) -> None:
    run = found(job, agent, edda, b"1")
    assert API(edda).get(f"runs/{run.public_id}").json()["proposal"] is None
    for word in ("accept", "reject"):
        answer = decide(edda, run, word)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_proposed")


# --- pages ---------------------------------------------------------------------------------------


def test_the_page_of_a_run_takes_the_decision(
    careful: Job, agent: Enrolled, press: Target, edda: User, vera: User
) -> None:
    run = found(careful, agent, edda, b"1")
    page = html(edda, f"/jobs/{run.public_id}")
    assert f'action="/jobs/{run.public_id}/accept"' in page
    assert f'formaction="/jobs/{run.public_id}/reject"' in page
    assert "the change waits to be accepted" in page
    seen = html(vera, f"/jobs/{run.public_id}")
    assert "This change waits to be accepted" in seen
    assert "/accept" not in seen
    client = as_(edda)
    nothing = client.post(f"/jobs/{run.public_id}/accept", {"comment": ""}, follow=True)
    assert "Say why" in nothing.content.decode()
    said = client.post(f"/jobs/{run.public_id}/accept", {"comment": "<b>Fine"}, follow=True)
    assert "is the accepted backup now" in said.content.decode()
    press.refresh_from_db()
    assert press.accepted_snapshot_id == run.snapshot_id
    assert "&lt;b&gt;Fine" in html(vera, f"/jobs/{run.public_id}?tab=history")
    assert "/accept" not in html(edda, f"/jobs/{run.public_id}")


def test_open_proposals_are_listed_and_counted(
    careful: Job, agent: Enrolled, edda: User, vera: User, mia: User, oscar: User
) -> None:
    """The side bar names them to who may decide, and to others where some wait."""

    def link(user: User) -> str:
        return html(user, "/jobs/proposals?count=home")

    assert " hidden>" in link(vera)
    assert " hidden>" not in link(edda)
    run = found(careful, agent, edda, b"1")
    for user, act in ((edda, "Decide"), (vera, "View Details")):
        assert re.search(r'class="n[^"]*">1<', link(user))
        page = html(user, "/jobs/proposals")
        assert f"/jobs/{run.public_id}?tab=changes" in page
        assert f">{act}</a>" in page
    for user in (mia, oscar):
        assert str(run.public_id) not in html(user, "/jobs/proposals")
        assert ">1<" not in link(user)
    assert "Press line 1 backup" in html(edda, "/")
    decide(edda, run, "reject")
    assert "No change waits" in html(edda, "/jobs/proposals")


def test_the_api_lists_the_open_ones(
    careful: Job, agent: Enrolled, press: Target, edda: User, mia: User
) -> None:
    runs = [found(careful, agent, edda, text) for text in (b"1", b"2")]
    [row] = API(edda).get("proposals").json()["results"]
    assert (row["run"], row["state"]) == (str(runs[1].public_id), "open")
    assert (row["target"]["name"], row["name"]) == ("Press line 1", "Press line 1 backup")
    [older] = API(edda).get("proposals", state="superseded").json()["results"]
    assert older["superseded_by"] == str(runs[1].public_id)
    target = str(press.public_id)
    assert len(API(edda).get("proposals", target=target).json()["results"]) == 1
    assert API(mia).get("proposals").json()["results"] == []
    assert API(edda).get("proposals", state="wrong").status_code == 422


@pytest.mark.parametrize("number", [1, 3])
def test_the_lists_ask_alike_for_one_and_for_three(
    number: int,
    agent: Enrolled,
    hall: Site,
    backup: Function,
    edda: User,
    django_assert_num_queries: Any,
) -> None:
    for line in range(number):
        target = factories.target(hall, f"Line {line}")
        made = factories.job(target, backup, owner=edda, auto_commit=False)
        found(made, agent, edda, b"1")
    api, client = API(edda), as_(edda)
    with django_assert_num_queries(6):
        assert len(api.get("proposals").json()["results"]) == number
    with django_assert_num_queries(8):
        assert client.get("/jobs/proposals").content.decode().count(">Decide</a>") == number


def test_the_admin_reads_them_and_decides_by_the_same_rule(
    careful: Job, agent: Enrolled, press: Target, edda: User, alice: User, root: User
) -> None:
    run = found(careful, agent, edda, b"1")
    proposal = Proposal.objects.get()
    page = reverse("admin:jobs_proposal_change", args=[proposal.pk])
    address = reverse("admin:jobs_proposal_accept", args=[proposal.pk])
    assert as_(root).post(address, {"comment": "Fine."}).status_code == 403
    client = as_(alice)
    assert client.post(page, {"state": "accepted"}).status_code == 403
    assert "<textarea" in client.get(address).content.decode()
    assert "Say why" in client.post(address, {}, follow=True).content.decode()
    assert Proposal.objects.get().state == "open"
    client.post(address, {"comment": "Fine."})
    press.refresh_from_db()
    assert press.accepted_snapshot_id == run.snapshot_id
    assert Proposal.objects.get().decided_by == alice


@pytest.mark.parametrize("word", ["accept", "reject"])
def test_who_may_not_decide_learns_nothing_of_what_was_sent(
    word: str, job: Job, edda: User, vera: User, oscar: User
) -> None:
    run = factories.run(job, by=edda)
    answers = [
        API(who).post(f"runs/{run.public_id}/{word}", {"nonsense": 1}).status_code
        for who in (oscar, vera, edda)
    ]
    assert answers == [404, 403, 422]
