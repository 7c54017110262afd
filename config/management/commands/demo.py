"""Decides what `manage.py demo` says of the demo that it makes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from config import demo


class Command(BaseCommand):
    """Make the demo in an empty database."""

    help = "Make an organization with a folder to back up and an administrator, once."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing and say how to log in."""
        if demo.ensure_demo():
            self.stdout.write(f"Made the organization {demo.ORGANIZATION} with {demo.SITE}.")
        else:
            self.stdout.write("This database has people already; nothing was made.")
        user, password = demo.login()
        self.stdout.write(f"Log in as {user}, password: {password}")
        if not demo.ensure_job():
            self.stdout.write(
                "Its job is made as soon as an agent offers folder.backup: "
                "python3 manage.py up starts one."
            )
