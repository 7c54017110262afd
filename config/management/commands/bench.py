"""Decides what `manage.py bench` runs: every measurement, each beside its anchor."""

from __future__ import annotations

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Hand the options to the benchmarks as they are."""

    help = "Print how fast the portal is, each figure beside its anchor of the same run."

    def run_from_argv(self, argv: list[str]) -> None:
        """Run outside Django's own option parser: the measurements set up Django themselves."""
        from bench.__main__ import main

        main(argv[2:])
