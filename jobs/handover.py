"""What becomes of the jobs of a member who leaves: another member owns them from then on."""

from __future__ import annotations

from sites.models import Membership
from sites.problems import Refused

from .definitions import tell
from .models import Job
from .permissions import job_policy
from .querysets import JobQuerySet


def owned(member: Membership) -> JobQuerySet:
    """List the jobs in use that a member owns in the organization."""
    return Job.objects.in_use().filter(organization=member.organization_id, owner=member.user_id)


def names_of_owned(member: Membership) -> list[str]:
    """Name them."""
    return list(owned(member).order_by("name", "pk").values_list("name", flat=True))


def hand_over(leaving: Membership, heir: Membership) -> None:
    """Make another member the owner, as whom their schedules start. Runs keep their starter.

    Refused 422 where the heir may not start one of them. Locks the jobs, in one order, as who
    starts or changes one does.
    """
    locked = owned(leaving).order_by("pk").select_for_update(no_key=True, of=("self",))
    jobs = list(locked.select_related("organization", "site", "target"))
    permitted = job_policy.permitted(heir.user, ["start"], [job.pk for job in jobs])
    for job in jobs:
        if "start" not in permitted[job.pk]:
            words = (
                f"{heir.user} may not start job “{job}” at {job.site}: choose somebody who may, or"
                f" give {heir.user} a role there first."
            )
            raise Refused("invalid", words, status=422, errors={"successor": [words]})
    for job in jobs:
        job.owner = heir.user
        job.save(update_fields=["owner", "updated_at"])
        tell(job)
