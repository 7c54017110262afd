"""What keeps time: the tick with thousands of jobs due, and the sweep with as many leases over.

`python -m bench.clock [--due 10000] [--finished 1000000]` fills a PostgreSQL of its own. The anchor
does the same to the same tables in one SQL statement: the fate of each planned time is known to it
beforehand, and it decides nothing. The goal is half its speed, and an idle sweep of 1 ms of SQL.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

GOAL = 0.5
GOAL_IDLE_MS = 1.0
ROUNDS = 3

TICK = """
    WITH due AS (
        SELECT job.*, gen_random_uuid() AS run_uuid FROM jobs_job AS job
        WHERE next_run_at <= now() FOR NO KEY UPDATE
    ), planned AS (
        INSERT INTO jobs_occurrence (organization_id, site_id, target_id, job_id, starter_id,
            planned_at, outcome, reason, message)
        SELECT organization_id, site_id, target_id, id, owner_id, next_run_at, 'started', '', ''
        FROM due RETURNING id, job_id
    ), run AS (
        INSERT INTO jobs_jobrun (public_id, organization_id, site_id, target_id, job_id,
            function_id, queue_id, occurrence_id, started_by_id, version, actual_version, priority,
            overlap, makes_snapshot, auto_commit, assignment, origin, tool, source_system,
            target_system, external_id, robot, type, name, parameters, tags, data, status, sequence,
            attempt, lease_losses, run_timeout_s, queue_until, result, reason, message, summary,
            error, verdict, report_hash, log_length)
        SELECT run_uuid, organization_id, site_id, target_id, due.id, function_id, {queue},
            planned.id, owner_id, '', '', 0, false, false, true, 'automatic', 'local', 'folder', '',
            '', '', '', 'list', name, parameters, tags, '{{}}', 'pending', 1, 0, 0, 3600,
            now() + interval '1 d', '', '', '', '', '', '', '', 0
        FROM due JOIN planned ON planned.job_id = due.id RETURNING *
    ), noted AS (
        INSERT INTO jobs_statustransition (run_id, sequence, from_status, to_status, reason,
            message)
        SELECT id, 1, '', 'pending', '', 'Started by its schedule.' FROM run
    ), told AS (
        INSERT INTO sites_event (kind, subject_id, organization_id, site_id, target_id, starter_id,
            data)
        SELECT 'run.pending', public_id, organization_id, site_id, target_id, started_by_id,
            jsonb_build_object('queue', queue_id, 'name', name) FROM run
    )
    UPDATE jobs_job AS job SET next_run_at = job.next_run_at + interval '1 d'
    FROM due WHERE job.id = due.id
"""
# As their agent left them: begun, and not heard of for a minute.
BEGUN = """
    WITH run AS (
        UPDATE jobs_jobrun SET status = 'running', attempt = 1, sequence = 3, agent_id = {agent},
            started_at = now() - interval '5 min', deadline_at = now() + interval '1 h',
            lease_until = now() - interval '5 min'
        WHERE status = 'pending' RETURNING id
    )
    INSERT INTO jobs_statustransition (run_id, sequence, from_status, to_status, agent_id, reason,
        message)
    SELECT id, n, was, now, {agent}, '', '' FROM run
    CROSS JOIN (VALUES (2, 'pending', 'claimed'), (3, 'claimed', 'running')) AS step(n, was, now)
"""
SWEEP = """
    WITH run AS (
        UPDATE jobs_jobrun SET status = 'timed_out', reason = 'agent_lost', sequence = sequence + 1,
            finished_at = now(), updated_at = now(), lease_until = NULL,
            duration_s = extract(epoch FROM now() - started_at)
        WHERE status IN ('running', 'validating', 'uploading')
          AND lease_until < now() - interval '10 s' RETURNING *
    ), noted AS (
        INSERT INTO jobs_statustransition (run_id, sequence, from_status, to_status, reason,
            message)
        SELECT id, sequence, 'running', 'timed_out', 'agent_lost', 'Agent fell silent.' FROM run
    )
    INSERT INTO sites_event (kind, subject_id, organization_id, site_id, target_id, starter_id,
        data)
    SELECT 'run.timed_out', public_id, organization_id, site_id, target_id, started_by_id,
        jsonb_build_object('queue', queue_id, 'name', name) FROM run
"""


def took(act: Callable[[], Any]) -> tuple[float, int]:
    """Do it once; give the seconds and the number of statements."""
    from django.db import connection

    count = 0

    def counted(execute: Any, *about: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*about)

    with connection.execute_wrapper(counted):
        began = time.perf_counter()
        act()
        return time.perf_counter() - began, count


def execute(text: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(text)


def measure(due: int, finished: int) -> Iterator[str]:
    """Fill the configured database, and give a line for each path."""
    from django.db import connection
    from django.db.models.functions import Now

    from jobs import planner, sweeps
    from jobs.models import JobRun

    from . import world

    built = world.build(finished, agents=1)
    jobs = _jobs(due)
    execute("SET statement_timeout = 0")
    tick = TICK.format(queue=built.queue)

    rounds, begun = itertools.count(), _minute()

    def come() -> None:
        """End what the round before has made; another minute has come."""
        JobRun.objects.active().update(status="canceled", finished_at=Now(), lease_until=None)
        jobs.update(next_run_at=begun - timedelta(minutes=next(rounds)))
        world.settle()

    def lapse() -> None:
        come()
        planner.plan()
        execute(BEGUN.format(agent=built.agents[0][0]))
        world.settle()

    yield "  ".join(f"{cell:<26}" for cell in ("path", "ours", "one statement", "ratio", "goal"))
    paths = (
        ("tick", come, planner.plan, lambda: execute(tick)),
        ("sweep", lapse, sweeps.sweep, lambda: execute(SWEEP)),
    )
    for name, prepare, ours, anchor in paths:
        figures: dict[str, list[float]] = {"ours": [], "anchor": []}
        statements = 0
        for _ in range(ROUNDS):
            for who, act in (("ours", ours), ("anchor", anchor)):
                prepare()
                seconds, count = took(act)
                figures[who].append(due / seconds)
                statements = count if who == "ours" else statements
        mine, theirs = (statistics.median(figures[who]) for who in ("ours", "anchor"))
        yield "  ".join(
            f"{cell:<26}"
            for cell in (
                f"{name}, {due:,} runs",
                f"{mine:,.0f}/s, {statements} statements",
                f"{theirs:,.0f}/s",
                f"{mine / theirs:.2f}",
                f"≥ {GOAL}",
            )
        )
    for name, act in (("tick", planner.plan), ("sweep", sweeps.sweep)):
        act()
        world.settle()
        waits = [took(act)[0] * 1000 for _ in range(50)]
        idle = f"p50 {statistics.median(waits):.2f} ms, {took(act)[1]} statements"
        goal = f"≤ {GOAL_IDLE_MS:.0f} ms of SQL" if name == "sweep" else ""
        yield "  ".join(f"{cell:<26}" for cell in (f"idle {name}", idle, "", "", goal))
    connection.close()


def _jobs(due: int) -> Any:
    """Make as many jobs as are to be due, each of a target of its own, at two in the night."""
    from datetime import time as clock

    from agents import catalogue
    from jobs.models import Job
    from sites.models import Target

    [model] = Job.objects.all()
    version = catalogue.newest_version(model.function)
    targets = Target.objects.order_by("pk")[:due]
    new = [
        Target(organization=model.organization, site=model.site, name=f"more {n}")
        for n in range(due - len(targets))
    ]
    places = [*targets, *Target.objects.bulk_create(new)]
    Job.objects.bulk_create(
        Job(
            organization=model.organization,
            site=model.site,
            target=target,
            function=model.function,
            owner=model.owner,
            name=f"nightly {n}",
            schedule_kind="daily",
            schedule_time=clock(2, n % 60),
            grace_s=7200,
            checked_version=version,
        )
        for n, target in enumerate(places)
    )
    return Job.objects.filter(schedule_kind="daily")


def _minute() -> Any:
    """The minute that has just come."""
    from sites import sql

    return sql.clock().replace(second=0, microsecond=0)


def main() -> None:
    """Measure on a throw-away PostgreSQL that writes to its disk."""
    parser = argparse.ArgumentParser(prog="python -m bench.clock", description=__doc__)
    parser.add_argument("--due", type=int, default=10_000)
    parser.add_argument("--finished", type=int, default=1_000_000, help="finished runs beside")
    parser.add_argument("--here", action="store_true", help="in the configured database")
    options = parser.parse_args()
    if options.here:
        import django

        django.setup()
        for text in measure(options.due, options.finished):
            print(text.rstrip(), flush=True)
        return
    from tests import servers

    with servers.postgres(durable=True) as server, tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "YARDMASTER_DATA": folder,
            "DJANGO_SETTINGS_MODULE": "config.settings.production",
            "DATABASE_URL": server.url,
            "PYTHONWARNINGS": "ignore",
        }
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "-v", "0"], env=environment, check=True
        )
        command = [sys.executable, "-m", "bench.clock", "--here", *sys.argv[1:]]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
