"""Jobs, runs, claims and what runs leave behind."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from agents.enrolment import when_retired
        from sites.archiving import unless
        from sites.places import Holder, keeps_secrets

        from .obstacles import active_runs, clear_secrets, stored_secrets
        from .transitions import revoke

        when_retired(revoke)
        unless(active_runs)
        keeps_secrets(Holder(stored_secrets, clear_secrets))
