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
        if not self._prune("would delete", dry_run=True):
            self.stdout.write("Every organization keeps everything for ever.")
        elif not options["dry_run"]:
            self._prune("deleted", dry_run=False)

    def _prune(self, done: str, *, dry_run: bool) -> bool:
        """Prune, or only count, and say what went; False where everything is kept for ever."""
        failed = None
        try:
            found = retention.prune(dry_run=dry_run)
        except retention.NotPruned as error:
            found, failed = error.found, error
        for organization, tally in found.items():
            self.stdout.write(f"{organization}: {done} {tally or 'nothing'}.")
        if failed is not None:
            raise CommandError(str(failed)) from failed
        return bool(found)
