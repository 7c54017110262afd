"""Decides what `manage.py soak` runs: real minutes of beats, then races and faults for so long."""

from __future__ import annotations

import argparse
import sys
import time

from django.core.management.base import BaseCommand

from .test import run_both


class Command(BaseCommand):
    """Wait for what takes its time, and repeat what chance decides."""

    help = "Run real beats for half an hour, then races and faults for so many minutes."

    def run_from_argv(self, argv: list[str]) -> None:
        """Stop at the first round that fails."""
        parser = argparse.ArgumentParser(prog="manage.py soak", description=self.help)
        parser.add_argument("--minutes", type=float, default=30)
        options, more = parser.parse_known_args(argv[2:])
        print("Real beats, half an hour", flush=True)
        rounds, code = 0, run_both(more, what="soak")
        until = time.monotonic() + options.minutes * 60
        while code == 0 and time.monotonic() < until:
            rounds += 1
            print(f"Round {rounds}", flush=True)
            code = run_both(more, what="faults and not soak")
        if code:
            sys.exit(code)
        print(f"Real beats and {rounds} rounds, none failed.")
