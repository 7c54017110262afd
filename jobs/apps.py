"""Jobs, runs, claims and what runs leave behind."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from agents.enrolment import when_retired
        from sites.archiving import unless

        from .obstacles import active_runs
        from .transitions import revoke

        when_retired(revoke)
        unless(active_runs)
