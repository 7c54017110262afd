"""Jobs, runs, claims and what runs leave behind."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from agents.enrolment import when_retired

        from .transitions import revoke

        when_retired(revoke)
