"""Print how fast the portal is, each figure beside its anchor of the same run.

P is bare psycopg on the portal's own tables, one statement a step, 8 processes; PB the same in
batches of 50. Figures of a busy machine are low on both sides: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

Row = dict[str, Any]


def measured(options: argparse.Namespace, url: str | None, idle: int) -> list[Row]:
    """Run the measurements on one database, in a process and a data folder of their own."""
    with tempfile.TemporaryDirectory(prefix="yardmaster-bench-") as folder:
        environment = os.environ | {
            "YARDMASTER_DATA": folder,
            "DJANGO_SETTINGS_MODULE": "config.settings.production",
            "PYTHONWARNINGS": "ignore",
        }
        environment.pop("DATABASE_URL", None)
        if url:
            environment["DATABASE_URL"] = url
        command = [sys.executable, "-m", "bench.portal", "--finished", str(options.finished)]
        command += ["--seconds", str(options.seconds), "--idle", str(idle)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        return list(json.loads(done.stdout.splitlines()[-1]))


def line(*cells: str) -> None:
    """Print one row of the table."""
    widths = (42, 18, 34, 28, 8, 16)
    print("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())


def main(arguments: list[str] | None = None) -> None:
    """Measure on a throw-away PostgreSQL that writes to its disk, and on SQLite."""
    from tests import servers

    parser = argparse.ArgumentParser(prog="manage.py bench", description=__doc__)
    parser.add_argument("--finished", type=int, default=1_000_000, help="finished runs beside")
    parser.add_argument("--seconds", type=float, default=8, help="for each measurement")
    parser.add_argument("--idle", type=int, default=15_000, help="waiting agents; 0 leaves it out")
    parser.add_argument(
        "--lists", type=int, nargs="*", default=[1_000_000, 5_000_000],
        help="runs beside which the lists are measured, a quarter of an hour; none leaves it out",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    with servers.postgres(durable=True) as server:
        postgres = measured(options, server.url, options.idle)
    sqlite = measured(options, None, 0)

    line("path", "server", "ours", "anchor", "ratio", "goal")
    ours = {(row["what"], row["server"]): row["ours"] for row in postgres if "what" in row}
    for row in postgres:
        if "what" not in row:
            line(row["path"], "", row["ours"], row["anchor"], row["ratio"], row["goal"])
            continue
        anchor = "P" if row["what"] == "one lifecycle" else "PB"
        line(
            f"{row['what']} over REST",
            row["server"],
            f"{row['ours']:.0f}/s",
            f"{anchor} = {row['anchor']:.0f}/s",
            f"{row['ours'] / row['anchor']:.2f}",
            f"≥ {row['goal']:.2f} {anchor}",
        )
        if row["what"] == "one lifecycle":
            waits, bare = (
                f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"
                for p50, p99 in (row["claim_ms"], row["bare_claim_ms"])
            )
            ratio = f"{row['claim_ms'][1] / row['bare_claim_ms'][1]:.1f}"
            line("its claim, 8 agents", row["server"], waits, f"P: {bare}", ratio, "p99 ≤ 30 ms")
    for row in sqlite:
        anchor_rate = ours[row["what"], row["server"]]
        line(
            f"{row['what']} over REST, SQLite",
            row["server"],
            f"{row['ours']:.0f}/s",
            f"PostgreSQL = {anchor_rate:.0f}/s",
            f"{row['ours'] / anchor_rate:.2f}",
            "≥ 0.80" if row["what"] == "one lifecycle" else "",
        )
    print(flush=True)
    clock = [sys.executable, "-m", "bench.clock", "--finished", str(options.finished)]
    subprocess.run(clock, check=True)
    if options.lists:
        print(flush=True)
        lists = [sys.executable, "-m", "bench.history", "--sizes", *map(str, options.lists)]
        subprocess.run(lists, check=True)


if __name__ == "__main__":
    main()
