"""Runs over REST: start, cancel, retry, inputs, lists and what they narrow by."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from typing import Any

import pytest

from agents.models import Function
from jobs.models import JobRun, RunInput, StatusTransition
from sites.models import Event, User
from tests import factories
from tests.backups import back_up, leave_file
from tests.people import API

TEXTS = {
    "name": "convert",
    "version": "1.0",
    "functions": [{"name": "convert", "takes": ["text/*"], "parameters": {"type": "object"}}],
}


@pytest.fixture
def converter(works, hall, alice) -> factories.Enrolled:
    return factories.enrolled(works, "converter", site=hall, by=alice, tools=[TEXTS])


@pytest.fixture
def convert(converter) -> Function:
    return Function.objects.get(name="convert")


def described(upload: object, data: bytes, /, **other: object) -> dict[str, object]:
    return {
        "upload": str(upload),
        "name": "a.csv",
        "media_type": "text/csv",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    } | other


def test_backup_now_starts_once_and_then_gives_the_run_at_work(job, edda, alice, manuel):
    """S0-02, S2-14: whoever may see the run gets it, a manager not the runs of others."""
    started = API(edda).post(f"jobs/{job.public_id}/run")
    assert started.status_code == 201
    assert (started.json()["status"], started.json()["chip"]) == ("pending", "pending")
    assert started.json()["started_by"]["name"] == "Edda"
    again = API(alice).post(f"jobs/{job.public_id}/run", {})
    assert (again.status_code, again.json()["id"]) == (200, started.json()["id"])
    # Manuel may start the job and not see Edda's run: nothing of it is told.
    hidden = API(manuel).post(f"jobs/{job.public_id}/run")
    assert (hidden.status_code, hidden.json()["code"]) == (409, "already_active")
    assert started.json()["id"] not in hidden.content.decode()
    assert "Edda" not in hidden.content.decode()
    assert JobRun.objects.count() == 1


def test_a_job_that_allows_overlap_starts_again(press, backup, edda):
    job = factories.job(press, backup, owner=edda, overlap="allow")
    api = API(edda)
    first, second = (api.post(f"jobs/{job.public_id}/run") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


def test_cancel_is_for_the_starter_while_the_run_waits(job, agent, edda, alice):
    run = factories.run(job, by=edda)
    assert API(alice).post(f"runs/{run.public_id}/cancel").status_code == 403
    canceled = API(edda).post(f"runs/{run.public_id}/cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    again = API(edda).post(f"runs/{run.public_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "not_pending")
    claimed = factories.run(job, by=edda)
    agent.api.claim()
    late = API(edda).post(f"runs/{claimed.public_id}/cancel")
    assert (late.status_code, late.json()["run_status"]) == (409, "claimed")


def test_retry_of_a_saved_job_belongs_to_whoever_presses(job, agent, edda, alice, vera):
    """S4-16: a new run, once the first has ended."""
    first = factories.run(job, by=edda)
    active = API(edda).post(f"runs/{first.public_id}/retry")
    assert (active.status_code, active.json()["code"]) == (409, "still_active")
    back_up(agent.api, {"a": b"1"})
    assert API(vera).post(f"runs/{first.public_id}/retry").status_code == 403
    again = API(alice).post(f"runs/{first.public_id}/retry")
    assert again.status_code == 201
    assert again.json()["retry_of"] == str(first.public_id)
    assert again.json()["started_by"]["name"] == "Alice"


def test_inputs_are_told_to_the_starter_alone(convert, converter, press, edda, alice, root):
    """S3-01, S3-31: a function runs on a file, whose name and size nobody else is told."""
    api, upload, data = API(edda), uuid.uuid4(), b"a,b\n"
    assert api.upload(upload, 0, data[:2]).json() == {"length": 2}
    wrong = api.upload(upload, 0, data)
    assert (wrong.status_code, wrong.json()["length"]) == (416, 2)
    assert api.upload(upload, 2, data[2:]).json() == {"length": 4}
    body = {
        "target": str(press.public_id),
        "function": str(convert.public_id),
        "inputs": [described(upload, data)],
    }
    started = api.post("runs", body)
    assert started.status_code == 201, started.content
    run, (given,) = started.json()["id"], started.json()["inputs"]
    assert given["name"] == "a.csv"
    content = api.get(f"runs/{run}/inputs/{given['id']}/content")
    assert b"".join(content) == data
    for other in (alice, root):
        seen = API(other).get(f"runs/{run}")
        assert seen.status_code == 200
        assert "inputs" not in seen.json()
        assert "a.csv" not in seen.content.decode()
        assert API(other).get(f"runs/{run}/inputs").status_code == 403
        assert API(other).get(f"runs/{run}/inputs/{given['id']}/content").status_code == 403
    (claimed,) = converter.api.claim()
    assert claimed["inputs"][0]["sha256"] == given["sha256"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"media_type": "application/zip"}, "inputs.0.media_type"),
        ({"sha256": "0" * 64}, "inputs.0.upload"),
        ({"size": 3}, "inputs.0.upload"),
        ({"upload": str(uuid.uuid4())}, "inputs.0.upload"),
        ({"name": "../etc/passwd"}, "inputs.0.name"),
    ],
)
def test_an_input_that_is_not_what_was_said_starts_nothing(convert, press, edda, change, field):
    api, upload, data = API(edda), uuid.uuid4(), b"a,b\n"
    api.upload(upload, 0, data)
    body = {
        "target": str(press.public_id),
        "function": str(convert.public_id),
        "inputs": [described(upload, data, **change)],
    }
    refused = api.post("runs", body)
    assert refused.status_code == 422
    assert list(refused.json()["errors"]) == [field]
    assert (JobRun.objects.count(), RunInput.objects.count()) == (0, 0)


def test_nobody_names_anothers_upload(convert, press, edda, alice):
    upload, data = uuid.uuid4(), b"a,b\n"
    API(edda).upload(upload, 0, data)
    body = {
        "target": str(press.public_id),
        "function": str(convert.public_id),
        "inputs": [described(upload, data)],
    }
    assert API(alice).get(f"uploads/{upload}").json() == {"length": 0}
    assert API(alice).post("runs", body).status_code == 422
    assert API(edda).post("runs", body).status_code == 201


def test_secret_parameters_are_shown_to_nobody_and_survive_an_edit(job, edda, alice):
    address = f"jobs/{job.public_id}"
    sent = {"exclude": ["*.log"], "password": "hunter22"}
    saved = API(edda).patch(address, {"parameters": sent})
    assert saved.json()["parameters"] == {"exclude": ["*.log"], "password": "••••"}
    edited = saved.json()["parameters"] | {"exclude": []}
    assert API(alice).patch(address, {"parameters": edited}).status_code == 200
    job.refresh_from_db()
    assert job.parameters == {"exclude": [], "password": "hunter22"}
    run = API(edda).post(f"{address}/run").json()
    assert run["parameters"]["password"] == "••••"
    for path in (f"runs/{run['id']}", "runs", "jobs", address):
        assert "hunter22" not in API(alice).get(path).content.decode()


def test_what_a_run_left_is_read_piece_by_piece(job, agent, edda):
    """S4-15: log, files and transitions, each under the run's id."""
    run = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    agent.api.post(agent.api.of(held, "log"), {"offset": 0, "text": "one\n"})
    agent.api.post(agent.api.of(held, "log"), {"offset": 4, "text": "two\n"})
    file = uuid.uuid4()
    leave_file(agent.api, held, file, 'a"b<x>.html', b"<script>alert(1)</script>")
    api = API(edda)
    assert api.get(f"runs/{run.public_id}/log").json()["text"] == "one\ntwo\n"
    rest = api.get(f"runs/{run.public_id}/log", offset=4).json()
    assert rest == {"text": "two\n", "next_offset": 8, "length": 8}
    content = api.get(f"runs/{run.public_id}/files/{file}/content")
    assert b"".join(content) == b"<script>alert(1)</script>"
    assert content["Content-Type"] == "application/octet-stream"
    assert content["Content-Disposition"].startswith("attachment")
    assert content["X-Content-Type-Options"] == "nosniff"
    assert content["Content-Security-Policy"].startswith("sandbox")
    moves = api.get(f"runs/{run.public_id}/transitions").json()["results"]
    assert [move["to_status"] for move in moves] == ["pending", "claimed", "running"]
    assert (moves[0]["user"]["name"], moves[1]["agent"]["name"]) == ("Edda", "hall-agent")


def test_a_runs_diff_says_exactly_what_changed(job, agent, edda):
    api = API(edda)
    factories.run(job, by=edda)
    back_up(agent.api, {"keep": b"k\n", "edit": b"1\n2\n", "old": b"a\nb\nc\nd\n", "gone": b"bye"})
    run = factories.run(job, by=edda)
    back_up(agent.api, {"keep": b"k\n", "edit": b"1\n3\n", "new": b"a\nb\nc\nd\n", "come": b"hi"})
    seen = api.get(f"runs/{run.public_id}").json()
    assert (seen["status"], seen["result"]) == ("completed", "modified")
    diff = api.get(f"runs/{run.public_id}/diff").json()
    assert {one["path"]: one["status"] for one in diff["files"]} == {
        "come": "added",
        "edit": "modified",
        "gone": "removed",
        "new": "renamed",
    }
    assert diff["counts"] == {"added": 1, "modified": 1, "removed": 1, "renamed": 1}
    file = api.get(f"runs/{run.public_id}/diff", path="edit").json()["file"]
    lines = [(line["kind"], line["text"]) for line in file["hunks"][0]["lines"]]
    assert lines == [("context", "1"), ("removed", "2"), ("added", "3")]
    assert api.get(f"runs/{run.public_id}/diff", path="keep").status_code == 404
    same = factories.run(job, by=edda)
    back_up(agent.api, {"keep": b"k\n", "edit": b"1\n3\n", "new": b"a\nb\nc\nd\n", "come": b"hi"})
    assert api.get(f"runs/{same.public_id}").json()["result"] == "up_to_date"
    assert api.get(f"runs/{same.public_id}/diff").json()["files"] == []


@pytest.fixture
def history(press, backup, agent, edda: User, alice: User) -> dict[str, JobRun]:
    """One run of each kind, made by real moves."""
    job = factories.job(press, backup, owner=edda, overlap="allow", tags=["night", "ü"])
    made = {"completed": factories.run(job, by=edda)}
    back_up(agent.api, {"a": b"1"})
    made["failed"] = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    agent.api.finish(held, "failed", error="Out of paper.")
    made["canceled"] = factories.run(job, by=alice)
    assert API(alice).post(f"runs/{made['canceled'].public_id}/cancel").status_code == 200
    made["running"] = factories.run(job, by=alice)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    made["pending"] = factories.run(job, by=edda)
    for run in made.values():
        run.refresh_from_db()
    return made


EVERY = {"completed", "failed", "canceled", "running", "pending"}
NARROWED: list[tuple[dict[str, Any], set[str]]] = [
    ({"status": "cancelled"}, {"canceled"}),
    ({"status": ["canceled", "failed"]}, {"canceled", "failed"}),
    ({"outcome": "running"}, {"running", "pending"}),
    ({"outcome": "success"}, {"completed"}),
    ({"outcome": "cancelled"}, {"canceled"}),
    ({"result": "modified"}, {"completed"}),
    ({"mine": "true"}, {"completed", "failed", "pending"}),
    ({"tag": "night"}, EVERY),
    ({"tag": "nigh"}, set()),
    ({"tag": "ü"}, EVERY),
    ({"search": "PRESS LINE"}, EVERY),
    ({"search": "%"}, set()),
    ({"tool": "folder", "status": "pending"}, {"pending"}),
]


def test_runs_are_narrowed(history, edda):
    api, by_id = API(edda), {str(run.public_id): name for name, run in history.items()}
    for query, expected in NARROWED:
        rows = api.get("runs", **query).json()["results"]
        assert {by_id[row["id"]] for row in rows} == expected, query


def test_a_run_is_found_by_the_beginning_of_its_id(history, edda):
    wanted = str(history["failed"].public_id)
    for prefix in (wanted[:6], wanted[:13].upper(), wanted):
        found = API(edda).get("runs", search=prefix).json()["results"]
        assert wanted in [row["id"] for row in found]


def test_a_run_that_never_started_counts_by_when_it_was_made(history, edda):
    pending = history["pending"]
    after = API(edda).get("runs", started_after=pending.created_at.isoformat()).json()["results"]
    assert [row["id"] for row in after] == [str(pending.public_id)]
    before = API(edda).get("runs", started_before=pending.created_at.isoformat()).json()["results"]
    assert len(before) == 4


@pytest.mark.parametrize("viewer", ["edda", "alice", pytest.param("root", marks=pytest.mark.once)])
def test_pages_follow_each_other_in_every_order(history, cast, viewer):
    api = API(cast[viewer])
    found = {}
    for order, sign in itertools.product(("created", "started", "finished", "duration"), ("", "-")):
        ordering = f"{sign}{order}"
        whole = api.get("runs", ordering=ordering).json()["results"]
        pages, at = [], api.get("runs", ordering=ordering, page_size=2).json()
        while True:
            pages += at["results"]
            if at["next"] is None:
                break
            last, at = at, api.get(at["next"]).json()
        ids = [row["id"] for row in whole]
        assert len(ids) == 5
        assert [row["id"] for row in pages] == ids
        assert api.get(at["previous"]).json()["results"] == last["results"]
        found[ordering] = ids
    for order in ("created", "started", "finished", "duration"):
        assert found[order] == found[f"-{order}"][::-1]


def test_a_list_shows_what_each_branch_of_access_gives_once(history, press, works, hall, backup):
    """Own and granted, on the site and on its target: still one row each."""
    both = factories.member(works, "both", "member", viewer=hall, editor=press)
    job = history["failed"].job
    assert job is not None
    factories.run(job, by=both)
    rows = API(both).get("runs").json()["results"]
    assert len(rows) == len({row["id"] for row in rows}) == 6


@pytest.mark.parametrize(
    ("path", "viewer", "queries"),
    [
        # token, its use, memberships, grants; then ids, rows, the functions' versions
        # also why the pending ones wait
        ("runs", "alice", 8),
        ("runs", "vera", 8),
        ("jobs", "vera", 7),
        ("sites", "vera", 6),
        ("targets", "vera", 7),
        ("agents", "vera", 6),
        ("functions", "vera", 6),
        # also the agents of each pool, its people, its teams, and what of it may be managed
        ("pools", "alice", 10),
        ("organizations", "vera", 5),
    ],
)
def test_a_list_costs_the_same_with_more_rows(
    job, agent, works, hall, press, backup, cast, path, viewer, queries, django_assert_num_queries
):
    api = API(cast[viewer])
    api.get("me")
    factories.run(job, by=cast["edda"])
    works.pools.create(name="A").agents.add(agent.agent)
    for rows in (1, 3):
        with django_assert_num_queries(queries):
            answer = api.get(path)
        assert answer.status_code == 200
        if rows == 1:
            for number in range(2):
                target = factories.target(hall, f"Press {number}")
                more = factories.job(target, backup, owner=cast["edda"])
                factories.run(more, by=cast["edda"])
                works.pools.create(name=f"B{number}").agents.add(agent.agent)
                factories.access_token(cast[viewer])
                tool = factories.FOLDER | {"name": f"tool{number}"}
                factories.enrolled(works, f"n{number}", site=hall, by=cast["alice"], tools=[tool])


def test_a_connections_runs_are_a_bare_list(hall, backup, edda, agent):
    """S4-01 to S4-03, S4-06, S4-07, S4-10, S4-17 to S4-19: an id leads to its run."""
    link = factories.target(hall, "Link", kind="connection")
    job = factories.job(link, backup, owner=edda, overlap="allow")
    first = factories.run(job, by=edda)
    back_up(agent.api, {"a": b"1"})
    broken = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    agent.api.finish(held, "failed")
    second = factories.run(job, by=edda)
    path = f"connections/{link.public_id}/jobs"
    answer = API(edda).get(path)
    told = [(row["job_id"], row["status"]) for row in answer.json()]
    assert told == [
        (str(second.public_id), "processing"),
        (str(broken.public_id), "failed"),
        (str(first.public_id), "success"),
    ]
    assert API(edda).get(f"runs/{told[1][0]}").json()["status"] == "failed"
    assert answer.json()[0]["date"].endswith("Z")
    paged = API(edda).get(path, page_size=1)
    following = paged["Link"].partition(">")[0].removeprefix("<")
    assert API(edda).get(following).json() == answer.json()[1:2]


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_history_is_not_edited(job, alice, method):
    run = factories.run(job, by=alice)
    for path in (f"runs/{run.public_id}", f"runs/{run.public_id}/transitions"):
        assert API(alice).request(method, path, {"status": "completed"}).status_code == 405
    assert StatusTransition.objects.filter(run=run).count() == 1
    assert Event.objects.filter(subject_id=run.public_id).count() == 1
