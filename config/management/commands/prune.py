"""`manage.py prune`: delete what organizations keep no longer, after saying what that is."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import retention


class Command(BaseCommand):
    help = (
        "Deletes the logs, files and runs that are older than their organization keeps them, as "
        "the worker does every night; says first what will go. Safe while the portal serves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what would go.")

    def handle(self, *args: Any, **options: Any) -> None:
        failed = self._prune("would delete", dry_run=True)
        if not options["dry_run"]:
            # Who cannot be counted holds up nobody else: the disk may be full.
            failed = self._prune("deleted", dry_run=False) or failed
        if failed is not None:
            raise CommandError(str(failed)) from failed

    def _prune(self, done: str, *, dry_run: bool) -> retention.NotPruned | None:
        """Prune, or only count, and say what went; gives what failed."""
        failed = None
        try:
            found = retention.prune(dry_run=dry_run)
        except retention.NotPruned as error:
            found, failed = error.found, error
        for organization, tally in found.items():
            self.stdout.write(f"{organization}: {done} {str(tally) or 'nothing'}.")
        if dry_run and not found:
            self.stdout.write("Every organization keeps everything for ever.")
        return failed
