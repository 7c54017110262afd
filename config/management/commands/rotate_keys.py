"""`manage.py rotate_keys`: give the stored secrets a new key while the portal serves."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sites import credentials, encryption, second_factors


class Command(BaseCommand):
    help = (
        "Encrypts all credentials and second factors with a new key. Safe while the portal "
        "serves, and safe to run again. With CREDENTIAL_KEYS, put the new key first there before; "
        "else one is made here."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--drop-old",
            action="store_true",
            help="Make no new key; drop the old ones from the file, which nothing needs any more. "
            "Wait a minute after the rotation, for what was being written with an old one.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        drop = options["drop_old"]
        if drop and encryption.from_settings():
            raise CommandError(
                "The keys come from CREDENTIAL_KEYS: run rotate_keys, then take the old ones out."
            )
        if not drop and not encryption.from_settings():
            encryption.add_key()
        try:
            number = credentials.seal_all_anew() + second_factors.seal_all_anew()
        except encryption.Unreadable as error:
            raise CommandError(f"{error} No key was dropped.") from None
        self.stdout.write(f"Secrets encrypted with the newest key: {number}.")
        if drop:
            self.stdout.write(f"Old keys dropped: {encryption.drop_old_keys()}.")
