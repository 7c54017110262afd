"""Jobs, runs, claims and what runs leave behind."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        from agents import pools
        from agents.enrolment import when_retired
        from sites.archiving import unless
        from sites.members import Holding, holds
        from sites.places import Holder, keeps_secrets, waits

        from .dispatch import waiting_at
        from .handover import hand_over, names_of_owned
        from .obstacles import active_runs, clear_secrets, named_by_work, stored_secrets
        from .transitions import revoke

        when_retired(revoke)
        unless(active_runs)
        pools.unless(named_by_work)
        holds(Holding(names_of_owned, hand_over))
        waits(waiting_at)
        keeps_secrets(Holder(stored_secrets, clear_secrets))
