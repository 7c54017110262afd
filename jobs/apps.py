"""Jobs, runs, claims and what runs leave behind."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from agents import pools
        from agents.enrolment import when_retired
        from sites.archiving import unless
        from sites.places import Holder, keeps_secrets

        from .obstacles import active_runs, clear_secrets, named_by_work, stored_secrets
        from .transitions import revoke

        when_retired(revoke)
        unless(active_runs)
        pools.unless(named_by_work)
        keeps_secrets(Holder(stored_secrets, clear_secrets))
