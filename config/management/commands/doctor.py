"""Decides how the findings about this installation are shown."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from config.doctor import examine

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Look at the installation and say what to do; exit code 1 when something fails."""

    help = "Check this installation and say what to do about what is wrong."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Offer the form for programs."""
        parser.add_argument("--json", action="store_true", help="one JSON document, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Show each finding as soon as it is there."""
        findings = []
        for one in examine():
            findings.append(one)
            if not options["json"]:
                self.stdout.write(f"{one.state:<5} {one.name:<16} {one.found}")
                if one.cure:
                    self.stdout.write(f"{'':<22} → {one.cure}")
        failed = sum(one.state == "fail" for one in findings)
        if options["json"]:
            about = {"ok": not failed, "findings": [asdict(one) for one in findings]}
            self.stdout.write(json.dumps(about, indent=1, ensure_ascii=False))
        if failed:
            sys.exit(1)
