"""What one portal does on the configured database: lifecycles and batches over REST, page and list.

Run by `python -m bench` in a process of its own for each database, since Django has one per
process; prints its rows as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from typing import Any

from . import lifecycle, world

Row = dict[str, Any]

GRANIAN = "granian, 2 × 8"
UVICORN = "uvicorn + a2wsgi"


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def arrangement(name: str, port: int) -> list[str]:
    """The command that serves the portal: production's, or that of `manage.py up`."""
    if name == GRANIAN:
        return [
            "granian", "--interface", "wsgi", "config.wsgi:application", "--host", "127.0.0.1",
            "--port", str(port), "--workers", "2", "--blocking-threads", "8",
            "--http1-buffer-size", "65536", "--log-level", "error",
        ]  # fmt: skip
    return [
        "uvicorn", "config.asgi:application", "--port", str(port), "--no-access-log",
        "--log-level", "error",
    ]  # fmt: skip


def measure(finished: int, seconds: float) -> list[Row]:
    """Build the world and measure; a row names what it measured in."""
    from django.db import connection

    postgres = connection.vendor == "postgresql"
    built = world.build(finished)
    world.add_pending(built, 60_000, built.queue)
    if postgres:
        world.add_pending(built, 150_000, built.spare_queue)
    world.settle()
    connection.close()
    where = f"{'PostgreSQL' if postgres else 'SQLite'}, {finished:,} finished runs"
    rows: list[Row] = []
    bare: dict[int, tuple[float, list[float]]] = {1: (0.0, []), lifecycle.BATCH: (0.0, [])}
    if postgres:
        for size in bare:
            ready = [(built.url, built.spare_queue, agent, size) for agent, _ in built.agents]
            bare[size] = lifecycle.rate(lifecycle.bare, ready, seconds)
    for name in (GRANIAN, UVICORN):
        port = free_port()
        with world.served(arrangement(name, port), port):
            for size in bare:
                each = [(port, token, size) for _, token in built.agents]
                lifecycle.rate(lifecycle.over_rest, each, 1.5)
                ours, waits = lifecycle.rate(lifecycle.over_rest, each, seconds)
                anchor, its_waits = bare[size]
                rows.append(
                    {
                        "what": "one lifecycle" if size == 1 else f"batches of {size}",
                        "where": where,
                        "server": name,
                        "ours": ours,
                        "anchor": anchor,
                        "goal": 0.20 if size == 1 else 0.50,
                        "claim_ms": [lifecycle.share(waits, part) for part in (0.5, 0.99)],
                        "bare_claim_ms": [lifecycle.share(its_waits, part) for part in (0.5, 0.99)],
                    }
                )
    return rows


def main() -> None:
    """Measure in the environment at hand and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--idle", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    began = time.monotonic()
    rows = measure(options.finished, options.seconds)
    if options.idle:
        from . import live

        rows += live.run(options.idle)
    print(f"measured in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
