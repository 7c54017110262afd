"""The world that the benchmarks measure in: a portal with a million finished runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

TARGETS = 5000


@dataclass
class World:
    """Ids and tokens that the measurements need."""

    url: str
    organization: int
    site: int
    user: int
    function: int
    queue: int
    spare_queue: int
    agents: list[tuple[int, str]] = field(default_factory=list)  # id, token
    columns: dict[str, Any] = field(default_factory=dict)  # what all runs share


def build(finished: int, agents: int = 8) -> World:
    """Fill the configured database: people, places, agents, and so many finished runs."""

    from agents.models import Agent, Function
    from sites.models import Target
    from tests import factories

    organization = factories.organization("Bench")
    user = factories.member(organization, "alice", "administrator")
    site = factories.site(organization, "Hall")
    made = [
        factories.enrolled(organization, f"agent-{n}", by=user, site=site, slots=64)
        for n in range(agents)
    ]
    function = Function.objects.get(name="list")
    Target.objects.bulk_create(
        Target(organization=organization, site=site, name=f"target {n}") for n in range(TARGETS)
    )
    target = Target.objects.order_by("id").first()
    assert target is not None
    job = factories.job(target, function, owner=user, name="bench")
    from agents import catalogue

    queue = catalogue.queue_for(site, function)
    spare = catalogue.queue_for(site, function, version="none")
    assert isinstance(made[0].agent, Agent)
    built = World(
        url=os.environ.get("DATABASE_URL", ""),
        organization=organization.pk,
        site=site.pk,
        user=user.pk,
        function=function.pk,
        queue=queue.pk,
        spare_queue=spare.pk,
        agents=[(one.agent.pk, one.api.token) for one in made],
        columns=_columns(organization, site, target, job, function, user, queue),
    )
    if finished:
        add_finished(built, finished)
    return built


def add_finished(world: World, count: int) -> None:
    """Insert so many finished runs of the one job, spread over all targets."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0") if connection.vendor == "postgresql" else None
        insert_runs(cursor, count, world.columns)
        cursor.execute("ANALYZE") if connection.vendor == "postgresql" else None


def _columns(
    organization: Any, site: Any, target: Any, job: Any, function: Any, user: Any, queue: Any
) -> dict[str, Any]:
    return {
        "organization_id": organization.pk,
        "site_id": site.pk,
        "first_target": target.pk,
        "job_id": job.pk,
        "function_id": function.pk,
        "user": user.pk,
        "queue_id": queue.pk,
    }


RUNS = """
    INSERT INTO jobs_jobrun (
        public_id, organization_id, site_id, target_id, job_id, function_id, queue_id,
        started_by_id, version, actual_version, priority, overlap, makes_snapshot, auto_commit,
        assignment, origin, tool, source_system, target_system, external_id, robot, type, name,
        parameters, tags, data, status, sequence, attempt, lease_losses, run_timeout_s, result,
        reason, message, summary, error, verdict, report_hash, log_length, duration_s,
        created_at, started_at, finished_at, updated_at)
    SELECT {uuid}, %(organization_id)s, %(site_id)s, %(first_target)s + n %% {targets}, {job},
        %(function_id)s, %(queue_id)s, %(user)s, '', '', 0, {no}, {no}, {yes}, 'automatic', 'local',
        'folder', '', '', '', '', 'list', 'bench', '{{}}', '[]', '{{}}', {status}, 1, 0, 0, 3600,
        {result}, {reason}, '', '', '', '', '', 0, {duration}, {made}, {begun}, {ended}, {made}
    FROM {series}
"""


# Most end well; a few in each thousand do not, and hardly one ends in part.
ENDED = "CASE n %% 1000 WHEN 0 THEN 'failed' WHEN 1 THEN 'timed_out' ELSE 'completed' END"
REASON = "CASE n %% 1000 WHEN 0 THEN 'error' WHEN 1 THEN 'deadline' ELSE '' END"
RESULT = """
    CASE WHEN n %% 1000 < 2 THEN '' WHEN n %% 100000 = 99 THEN 'partial'
    WHEN n %% 25 = 3 THEN 'modified' ELSE 'success' END
"""


def insert_runs(cursor: Any, count: int, columns: dict[str, Any], *, pending: bool = False) -> None:
    """Insert so many runs in one statement, finished ones or pending ones."""
    postgres = cursor.db.vendor == "postgresql"
    age = "interval '1 s' * (%(count)s - n)"
    made = f"now() - interval '1 d' - {age}" if not pending else "now() - interval '1 h'"
    if not postgres:
        before = f"'-' || ({count} - n + 86400) || ' seconds'"
        made = f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', {before})"
    sql = RUNS.format(
        uuid="gen_random_uuid()" if postgres else "lower(hex(randomblob(16)))",
        targets=TARGETS,
        job="NULL" if pending else "%(job_id)s",
        yes="true" if postgres else "1",
        no="false" if postgres else "0",
        status="'pending'" if pending else ENDED,
        result="''" if pending else RESULT,
        reason="''" if pending else REASON,
        duration="NULL" if pending else "n %% 600",
        made=made,
        begun="NULL" if pending else made,
        ended="NULL" if pending else made,
        series="generate_series(1, %(count)s) AS n"
        if postgres
        else "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %(count)s)"
        " SELECT n FROM s)",
    )
    cursor.execute(sql, columns | {"count": count})


def add_pending(world: World, count: int, queue: int) -> None:
    """Put so many runs on a queue, spread over all targets."""
    from django.db import connection

    from sites.models import Target

    first = Target.objects.order_by("id").values_list("id", flat=True).first()
    with connection.cursor() as cursor:
        insert_runs(
            cursor,
            count,
            {
                "organization_id": world.organization,
                "site_id": world.site,
                "first_target": first,
                "job_id": None,
                "function_id": world.function,
                "user": world.user,
                "queue_id": queue,
            },
            pending=True,
        )
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE jobs_jobrun")


def settle() -> None:
    """Let what the building left behind be done with: it is not what is measured."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")
        else:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.sync()


@contextmanager
def served(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends."""
    import socket

    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
