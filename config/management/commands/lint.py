"""Decides which checks the source must pass without running: one list for people and for CI."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

PYTHON = sys.executable
CHECKS = {
    "ruff check": [PYTHON, "-m", "ruff", "check", "."],
    "ruff format": [PYTHON, "-m", "ruff", "format", "--check", "."],
    "mypy": [PYTHON, "-m", "mypy"],
    "import-linter": [str(Path(PYTHON).parent / "lint-imports")],
    "check --deploy": [PYTHON, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
    "migrations": [PYTHON, "manage.py", "makemigrations", "--check", "--dry-run"],
}


class Command(BaseCommand):
    """Run every check, also after one has failed, and fail if any did."""

    help = "Check style, types, imports, production settings and migrations."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run each check as production would see the project, in a data folder of its own."""
        failed = []
        with tempfile.TemporaryDirectory(prefix="yardmaster-lint-") as folder:
            environment = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings.production",
                "PUBLIC_URL": "https://yardmaster.example",
                "YARDMASTER_DATA": folder,
            }
            for title, command in CHECKS.items():
                print(f"\n— {title}", flush=True)
                if subprocess.run(command, cwd=settings.BASE_DIR, env=environment).returncode:
                    failed.append(title)
        print(f"\nFailed: {', '.join(failed)}." if failed else "\nAll checks passed.")
        sys.exit(1 if failed else 0)
