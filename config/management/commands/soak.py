"""Decides what `manage.py soak` runs: races and faults, again and again, for so long."""

from __future__ import annotations

import argparse
import sys
import time

from django.core.management.base import BaseCommand

from .test import run_both


class Command(BaseCommand):
    """Repeat what chance decides."""

    help = "Run the races and faults on both databases until the time is over."

    def run_from_argv(self, argv: list[str]) -> None:
        """Stop at the first round that fails."""
        parser = argparse.ArgumentParser(prog="manage.py soak", description=self.help)
        parser.add_argument("--minutes", type=float, default=30)
        options, more = parser.parse_known_args(argv[2:])
        until = time.monotonic() + options.minutes * 60
        rounds = 0
        while time.monotonic() < until:
            rounds += 1
            print(f"Round {rounds}", flush=True)
            if code := run_both(["-m", "faults", *more]):
                sys.exit(code)
        print(f"{rounds} rounds, none failed.")
