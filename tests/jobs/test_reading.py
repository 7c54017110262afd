"""What has ended is not read to do what is at hand, and of what waits only what is needed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from config.live import hub
from jobs import sweeps
from jobs.models import JobRun
from jobs.pages import ORDERS
from jobs.permissions import run_policy
from sites import keyset
from sites.models import Target
from tests import factories
from tests.databases import reads_at_most
from tests.jobs.test_batches import moves_of, results_of

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

RUNS, TARGETS = "jobs_jobrun", "sites_target"


def execute(text: str, params: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, params)


def copies(run: JobRun, number: int, **columns: str) -> None:
    """Insert so many copies of a run, whose numbers are `n`; `columns` are SQL."""
    changed = {"public_id": "gen_random_uuid()"} | columns
    same = [
        field.column
        for field in JobRun._meta.concrete_fields
        if not field.primary_key and field.column not in changed
    ]
    execute(
        f"INSERT INTO {RUNS} ({', '.join([*same, *changed])})"
        f" SELECT {', '.join([*same, *changed.values()])}"
        f" FROM {RUNS}, generate_series(1, %s) AS n WHERE id = %s",
        [number, run.pk],
    )


def end(run: JobRun, number: int, **columns: str) -> None:
    """Insert so many that ended well."""
    well = {"status": "'completed'", "finished_at": "now()", "result": "'success'"}
    copies(run, number, **(well | columns))


@pytest.fixture
def long_history(hall, listing, edda):
    """3,200 finished and 3,000 pending runs over 500 targets, half of them of a job."""
    place = factories.target(hall, "Line 0")
    first = factories.run(factories.job(place, listing, owner=edda), by=edda)
    Target.objects.bulk_create(
        Target(organization=hall.organization, site=hall, name=f"Line {number}")
        for number in range(1, 500)
    )
    lines = Target.objects.filter(name__startswith="Line").order_by("pk")
    assert lines.count() == 500
    spread = {
        "target_id": f"{place.pk} + n %% 500",
        "job_id": f"CASE WHEN n %% 2 = 0 THEN {first.job_id} END",
    }
    end(first, 2800, duration_s="n", **spread)
    end(first, 200, duration_s="n / 100", result="'modified'", **spread)
    end(first, 200, duration_s="n / 100", status="'failed'", result="''", **spread)
    copies(first, 3000, **spread)
    execute("ANALYZE")
    return first


def test_a_claim_reads_the_heads_of_its_queues_and_no_more(agent, long_history):
    """Rule 5: neither what ended, nor all that waits, nor the targets of all, to give eight."""
    with reads_at_most(300, RUNS, TARGETS):
        assert len(agent.api.claim(8)) > 1


def test_a_sweep_reads_what_it_ends_and_no_more(agent, long_history, monkeypatch):
    """Rule 29, of 1,000 in twenty transactions: each is read a few times, and nothing else."""
    monkeypatch.setattr(sweeps, "BATCH", 50)
    begun = {
        "status": "'running'",
        "overlap": "TRUE",
        "agent_id": str(agent.agent.pk),
        "lease_until": "now()",
        "deadline_at": "now() - interval '1 min'",
    }
    copies(long_history, 1000, **begun)
    execute("ANALYZE")
    with reads_at_most(10_000, RUNS):
        assert sweeps.sweep() == 1000


@pytest.fixture
def old_hand(agent, works, hall, alice, listing, edda):
    """Four runs that an agent holds, which has ended 2,000 since the runs were counted last."""
    other = factories.enrolled(works, "Other", site=hall, by=alice)
    jobs = [factories.job(factories.target(hall, f"Line {n}"), listing, owner=edda) for n in "1234"]
    runs = factories.runs(jobs, by=edda)
    end(runs[0], 4000, agent_id=str(other.agent.pk))
    execute("ANALYZE")
    end(runs[0], 2000, agent_id=str(agent.agent.pk))
    held = agent.api.claim(4)
    assert len(held) == 4
    return held


def test_what_an_agent_says_of_its_runs_reads_those_and_no_more(agent, old_hand):
    """Rules 13 and 18: named runs are found by their names, one by one and many at once."""
    one, *more = old_hand
    with reads_at_most(200, RUNS):
        held = [{name: run[name] for name in ("id", "attempt", "claim_id")} for run in old_hand]
        assert agent.api.post("heartbeat", {"runs": held}).status_code == 200
        assert agent.api.move(one, "running").status_code == 200
        assert agent.api.patch("runs", {"runs": moves_of(more)}).status_code == 200
        assert agent.api.finish(one).status_code == 200
        assert agent.api.put("results", {"results": results_of(more)}).status_code == 200


def plan_for_all_parameters(ask) -> str:
    """The plan of the one statement on runs that `ask` runs, made without its parameters."""
    texts = []

    def note(execute, sql, *rest):
        texts.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        ask()
    [text] = [one for one in texts if RUNS in one]
    first, *others = text.split("%s")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE asked AS {text}")
        blanks = ", ".join(["NULL"] * len(others))
        cursor.execute(f"EXPLAIN EXECUTE asked{f'({blanks})' if blanks else ''}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
        cursor.execute("DEALLOCATE asked")
        return plan


@pytest.mark.parametrize(
    ("index", "narrowed"),
    [
        ("run_telling_by_duration", lambda runs: runs.with_results(["modified"])),
        ("run_failed_by_duration", lambda runs: runs.with_outcome("failed")),
    ],
)
def test_few_are_found_among_many_by_how_long_they_took(alice, long_history, index, narrowed):
    """Job History of what is rare, the longest first: none may be among the longest of all."""
    branches, order = run_policy.branches(alice, "view"), ORDERS["-duration"]
    runs = narrowed(JobRun.objects.all())

    def ask() -> None:
        assert len(keyset.cut(runs, branches, order, size=50, place=None).ids) == 50

    plan = plan_for_all_parameters(ask)
    assert index in plan, plan
    with reads_at_most(1000, RUNS):
        ask()


@pytest.mark.parametrize(
    ("index", "ask"),
    [
        ("run_pending_in_queue", lambda agent: hub.work_of(agent)),
        ("run_held", lambda agent: list(JobRun.objects.executing().filter(agent=agent))),
        ("run_active", lambda agent: JobRun.objects.active().filter(site=agent.site).count()),
    ],
    ids=["pending", "executing", "active"],
)
def test_what_is_not_final_is_read_along_its_index_also_by_a_plan_for_all_parameters(
    agent, long_history, index, ask
):
    """The portal's connections keep their plans: one that was made without knowing that a
    parameter is `pending` reads the whole history for each agent that connects."""
    plan = plan_for_all_parameters(lambda: ask(agent.agent))
    assert index in plan, plan
    assert f"Seq Scan on {RUNS}" not in plan, plan
