"""Who may do what with jobs and runs."""

from sites.access import ADMINISTRATOR, MANAGER, Policy, Rule, by_grant, by_person, superuser
from sites.access.policy import Person
from sites.models import Role
from sites.permissions import target_policy

from .models import Job, JobRun, Occurrence, Proposal


def _granted(verb: str) -> list[Rule]:
    """Rows granted through their site or their target."""
    return [by_grant(verb, "site", "site"), by_grant(verb, "target", "target")]


_OWN = by_person("started_by")

run_policy = Policy(
    JobRun,
    {
        # Also transitions, log, records, files, diff.
        "view": [_OWN, *_granted("view"), ADMINISTRATOR, superuser],
        # No administrator override: these are the starter's alone.
        "inputs": [_OWN],
        "cancel": [_OWN],
        # Of an ad hoc run; a run of a saved job is retried by whoever may start the job.
        "retry": [_OWN],
        # Accept or reject the change that it proposes.
        "decide": [*_granted("operate"), ADMINISTRATOR],
    },
)

# As the runs that propose them.
proposal_policy = Policy(
    Proposal,
    {name: list(run_policy.table[name]) for name in ("view", "decide")},
)

# As the runs that planned starts became, or would have become.
occurrence_policy = Policy(
    Occurrence,
    {"view": [by_person("starter"), *_granted("view"), ADMINISTRATOR, superuser]},
)

job_policy = Policy(
    Job,
    {
        "view": [*_granted("view"), MANAGER, ADMINISTRATOR, superuser],
        "start": [*_granted("operate"), MANAGER, ADMINISTRATOR],
        # Edit, enable, pause, archive.
        "edit": [*_granted("operate"), by_person("owner", roles=[Role.MANAGER]), ADMINISTRATOR],
    },
)


def rights_of(user: Person, run: JobRun) -> set[str]:
    """Say which of "retry" and "pin" the person may do to a run (domain rule 6).

    Of a saved job they are for who may start it, and for who may edit it. Of an ad hoc run its
    starter retries, and only while they may still start something on its target; who may decide
    about what it found pins.
    """
    if run.job_id is not None:
        [permitted] = job_policy.permitted(user, ["start", "edit"], [run.job_id]).values()
        return {name for name, verb in (("retry", "start"), ("pin", "edit")) if verb in permitted}
    [permitted] = run_policy.permitted(user, ["retry", "decide"], [run.pk]).values()
    rights = {"pin"} if "decide" in permitted else set()
    place = run.target if "retry" in permitted else None
    if place is not None and target_policy.allows(user, "create_job", place):
        rights.add("retry")
    return rights


def may_retry(user: Person, run: JobRun) -> bool:
    """Say whether the person may start the same again."""
    return "retry" in rights_of(user, run)


def may_pin(user: Person, run: JobRun) -> bool:
    """Say whether the person may keep a run whatever its age."""
    return "pin" in rights_of(user, run)
