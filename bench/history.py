"""Lists of runs at one million and at five: Job History, the API's list and the admin's.

`python -m bench.history [--sizes 1000000 5000000]` fills a PostgreSQL of its own; of a thousand
runs one failed, one timed out and forty found changes, and one in a hundred thousand is partial.
Each list is asked in the test client as an administrator sees it, each filter with each sort on
offer. Per list: the slowest median of SQL, and the median of all answers; the goals are 3 ms of
SQL, and at the last size at most 1.5 times the first one's median.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

GOAL_SQL_MS = 3.0
GOAL_RATIO = 1.5
ROUNDS = 7
SORTS = ("-created", "created", "-started", "-finished", "finished", "-duration", "duration")
FILTERS = (
    "", "outcome=failed", "outcome=partial", "outcome=cancelled", "outcome=success",
    "status=timed_out", "result=modified", "job={job}", "site={site}", "agent={agent}",
    "search=nothing",
)  # fmt: skip
ADMIN = ("", "status__exact=failed", "status__exact=timed_out", "result__exact=modified")


def addresses(names: dict[str, str]) -> dict[str, list[str]]:
    """Give the addresses of each list."""
    narrowed = [one.format(**names) for one in FILTERS]
    both = [f"{one}&ordering={sort}" for one in narrowed for sort in SORTS]
    return {
        "Job History": [f"/jobs/history?{one}" for one in both],
        "GET /api/v1/runs": [f"/api/v1/runs?{one}" for one in both],
        "admin, job runs": [f"/admin/jobs/jobrun/?{one}" for one in ADMIN],
    }


def asked(client: Any, address: str) -> tuple[float, float]:
    """Ask a few times; give the medians of SQL and of the whole answer, in ms."""
    from django.db import connection

    sql: list[float] = []
    whole = []

    def timed(execute: Any, *about: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*about)
        finally:
            sql[-1] += (time.perf_counter() - began) * 1000

    for _ in range(ROUNDS):
        sql.append(0.0)
        with connection.execute_wrapper(timed):
            began = time.perf_counter()
            answer = client.get(address)
            whole.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200, (address, answer.status_code)
    return statistics.median(sql), statistics.median(whole)


def measure(sizes: list[int]) -> Iterator[str]:
    """Fill the configured database step by step, and give a line for each list and size."""
    from django.db import connection
    from django.test import Client

    from agents.models import Agent
    from jobs.models import Job
    from sites.models import Site, User

    from . import world

    built = world.build(0, agents=1)
    names = {
        "job": str(Job.objects.get().public_id),
        "site": str(Site.objects.get().public_id),
        "agent": str(Agent.objects.get().public_id),
    }
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(pk=built.user))
    first: dict[str, float] = {}
    there = 0
    for size in sizes:
        world.add_finished(built, size - there)
        there = size
        world.settle()
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        for name, some in addresses(names).items():
            found = {address: asked(client, address) for address in some}
            slowest = max(found, key=lambda one: found[one][0])
            middle = statistics.median(whole for _, whole in found.values())
            over = sum(sql > GOAL_SQL_MS for sql, _ in found.values())
            ratio = middle / first.setdefault(name, middle)
            yield (
                f"{name:18} {size:>11,} runs  p50 {middle:6.1f} ms"
                f" ({ratio:.2f} × the first, goal {GOAL_RATIO})"
                f"  SQL p50 {statistics.median(sql for sql, _ in found.values()):5.1f} ms,"
                f" slowest {found[slowest][0]:7.1f} ms, {over} of {len(found)} over"
                f" {GOAL_SQL_MS:.0f} ms: {slowest}"
            )


def main() -> None:
    """Bring a PostgreSQL, and measure in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        call_command("createcachetable", verbosity=0)
        for row in measure(options.sizes):
            print(row, flush=True)
        return
    from tests import servers

    with (
        servers.postgres(durable=True) as server,
        tempfile.TemporaryDirectory(prefix="yardmaster-bench-") as folder,
    ):
        environment = os.environ | {
            "YARDMASTER_DATA": folder,
            "DATABASE_URL": server.url,
            "DJANGO_SETTINGS_MODULE": "config.settings.test",
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-m", "bench.history", "--inside"]
        command += ["--sizes", *map(str, options.sizes)]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
