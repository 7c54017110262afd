"""Many moves and results at once: each item as it would be alone."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from jobs.models import JobRun, StatusTransition
from tests import factories


@pytest.fixture
def held(agent, hall, edda):
    """Six claimed runs of a function without a snapshot, on six targets."""
    from agents.models import Function

    listing = Function.objects.get(name="list")
    for n in range(6):
        target = factories.target(hall, f"Target {n}")
        factories.run(factories.job(target, listing, owner=edda), by=edda)
    runs = agent.api.claim(6)
    assert len(runs) == 6
    return runs


def moves_of(runs, status="running"):
    return [
        {"id": r["id"], "attempt": r["attempt"], "claim_id": r["claim_id"], "status": status}
        for r in runs
    ]


def results_of(runs, **more):
    return [
        {"id": r["id"], "attempt": r["attempt"], "status": "completed", "message": "Done."} | more
        for r in runs
    ]


def test_each_item_is_answered_as_it_would_be_alone(agent, held):
    items = moves_of(held)
    items[1]["attempt"] = 2
    items[2]["claim_id"] = str(uuid.uuid4())
    items[3]["status"] = "uploading"
    items[4]["message"] = "Half way"
    items[5]["id"] = str(uuid.uuid4())
    answer = agent.api.patch("runs", {"runs": items})
    assert answer.status_code == 200
    assert [one["code"] for one in answer.json()["runs"]] == [
        "ok",
        "stale_attempt",
        "stale_attempt",
        "illegal_move",
        "ok",
        "not_found",
    ]
    running = JobRun.objects.filter(status="running")
    assert {str(run.public_id) for run in running} == {held[0]["id"], held[4]["id"]}
    again = agent.api.patch("runs", {"runs": items}).json()["runs"]
    assert [one["code"] for one in again] == [one["code"] for one in answer.json()["runs"]]
    assert StatusTransition.objects.filter(to_status="running").count() == 2


def test_results_end_each_run_once_and_replay(agent, held):
    assert agent.api.patch("runs", {"runs": moves_of(held)}).status_code == 200
    items = results_of(held)
    items[1]["counts"] = {"total": 3, "failed": 1}
    items[2] = items[2] | {"status": "failed", "error": "No answer"}
    items[3]["attempt"] = 9
    first = agent.api.put("results", {"results": items}).json()["results"]
    assert [(one["code"], one["result"]) for one in first] == [
        ("ok", "success"),
        ("ok", "partial"),
        ("ok", ""),
        ("stale_attempt", ""),
        ("ok", "success"),
        ("ok", "success"),
    ]
    ended = JobRun.objects.exclude(finished_at=None)
    assert ended.count() == 5
    assert all(run.duration_s is not None and run.duration_s >= 0 for run in ended)
    again = agent.api.put("results", {"results": items}).json()["results"]
    assert again == first
    other = agent.api.put("results", {"results": results_of(held[:1], message="Else")}).json()
    assert other["results"][0]["code"] == "result_conflict"
    finals = StatusTransition.objects.filter(to_status__in=["completed", "failed"])
    assert finals.count() == 5


def test_a_backup_in_a_batch_still_needs_its_seal(agent, job, edda):
    factories.run(job, by=edda)
    runs = agent.api.claim()
    agent.api.patch("runs", {"runs": moves_of(runs)})
    answer = agent.api.put("results", {"results": results_of(runs)}).json()["results"][0]
    assert answer["code"] == "not_sealed"
    assert JobRun.objects.get().status == "running"


@pytest.mark.parametrize("body", [{}, {"runs": []}, {"runs": [{}]}, {"runs": "x"}])
def test_a_batch_that_is_none_is_refused_whole(agent, body):
    assert agent.api.patch("runs", body).status_code == 422


@pytest.mark.once
def test_a_batch_reads_its_own_runs_and_no_others(agent, held):
    """On SQLite a pair of columns has no index: with 300,000 runs each batch read them all."""
    texts = []

    def note(execute, sql, params, *rest):
        if "jobs_jobrun" in sql:
            texts.append((sql, params))
        return execute(sql, params, *rest)

    with connection.execute_wrapper(note):
        assert agent.api.patch("runs", {"runs": moves_of(held)}).status_code == 200
        assert agent.api.put("results", {"results": results_of(held)}).status_code == 200
    assert {text.split()[0] for text, _ in texts} >= {"SELECT", "UPDATE"}
    with connection.cursor() as cursor:
        for text, params in texts:
            cursor.execute(f"EXPLAIN QUERY PLAN {text}", params)
            plan = [step[3] for step in cursor.fetchall()]
            assert not {"SCAN run", "SCAN jobs_jobrun"} & set(plan), (text, plan)
