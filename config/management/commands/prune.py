"""`manage.py prune`: delete what organizations keep no longer, after saying what that is."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import retention
from sites.models import Organization


class Command(BaseCommand):
    help = (
        "Deletes the logs, files and runs that are older than their organization keeps them, as "
        "the worker does every night; says first what will go. Safe while the portal serves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what would go.")

    def handle(self, *args: Any, **options: Any) -> None:
        would_go = self._pruned(dry_run=True)
        if not would_go:
            self.stdout.write("Every organization keeps everything for ever.")
            return
        for organization, tally in would_go.items():
            self.stdout.write(f"{organization}: would delete {tally or 'nothing'}.")
        if options["dry_run"]:
            return
        for organization, tally in self._pruned().items():
            self.stdout.write(f"{organization}: deleted {tally or 'nothing'}.")

    def _pruned(self, **how: bool) -> dict[Organization, retention.Tally]:
        """Prune, and end with what failed; says then what went all the same."""
        try:
            return retention.prune(**how)
        except retention.NotPruned as error:
            done = "would delete" if how else "deleted"
            for organization, tally in error.found.items():
                self.stdout.write(f"{organization}: {done} {tally or 'nothing'}.")
            raise CommandError(str(error)) from error
