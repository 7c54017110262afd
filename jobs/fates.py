"""Decides what becomes of a planned time that has come: it starts, is skipped, or was missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from agents import catalogue
from agents.models import FunctionVersion
from sites.models import User
from sites.problems import Refused

from . import starts
from .models import Job, JobRun, Occurrence, Overlap
from .permissions import job_policy
from .states import ACTIVE, Status

# Function and version of a job → the version that its run would have.
Versions = dict[tuple[int, str], FunctionVersion]


@dataclass(slots=True)
class Planned:
    """A planned time of a job, and its fate: to be started unless a reason says otherwise."""

    job: Any
    at: datetime
    is_newest: bool = True  # of all the times that have come
    outcome: str = Occurrence.Outcome.STARTED
    reason: str = ""
    message: str = ""

    def miss(self, message: str) -> None:
        """It came too late for the portal."""
        self.outcome, self.reason = Occurrence.Outcome.MISSED, Occurrence.Reason.TOO_LATE
        self.message = message

    def skip(self, reason: str, message: str) -> None:
        """It is not to be started, for this reason."""
        self.outcome, self.reason, self.message = Occurrence.Outcome.SKIPPED, reason, message[:500]


def planned_of(job: Any, times: list[datetime], following: datetime | None) -> list[Planned]:
    """Say of the times of a job which is the newest; none is where a later one has come as well."""
    more = following is not None and following <= job.now
    return [Planned(job, at, at is times[-1] and not more) for at in times]


def decide(planned: Sequence[Planned]) -> Versions:
    """Give each time its fate, of jobs that are held; those without a reason are to be started.

    A handful of queries whatever their number. Gives the versions of what is to be started, and
    notes on each job the version that its parameters were found to fit: it is not asked again.
    """
    _miss(planned)
    wanted = [one for one in planned if not one.reason]
    _skip_paused(wanted)
    _skip_at_work(wanted)
    return _skip_refused(wanted)


def _miss(planned: Sequence[Planned]) -> None:
    """Of each job start only the newest time, and only within its grace."""
    for one in planned:
        late_s = (one.job.now - one.at).total_seconds()
        if not one.is_newest:
            words = "A later time of the schedule had come as well when the portal got to it."
        elif late_s > one.job.grace_s:
            words = (
                f"The portal got to it {late_s / 60:.0f} min late;"
                f" {one.job.grace_s / 60:.0f} min are made up for."
            )
        else:
            continue
        one.miss(words)


def _skip_paused(wanted: Iterable[Planned]) -> None:
    for one in wanted:
        job = one.job
        for kind, name, until in (
            ("Job", job.name, job.paused_until),
            ("Site", job.site__name, job.site__paused_until),
        ):
            # Not why: the record is also for those who may not see what was paused.
            if until is not None and until > job.now and not one.reason:
                one.skip(Occurrence.Reason.PAUSED, f"{kind} {name} was paused.")


def _skip_at_work(wanted: Iterable[Planned]) -> None:
    """Leave out what would overlap, as each job says: all of it, or all but one that waits."""
    ids = [one.job.pk for one in wanted if not one.reason and one.job.overlap != Overlap.ALLOW]
    if not ids:
        return
    active = JobRun.objects.filter(job__in=ids, status__in=ACTIVE).order_by().values("job")
    waiting = Count("pk", filter=Q(status=Status.PENDING))
    at_work = dict(active.annotate(waiting=waiting).values_list("job", "waiting"))
    for one in wanted:
        if one.reason or one.job.overlap == Overlap.ALLOW or one.job.pk not in at_work:
            continue
        if one.job.overlap == Overlap.SKIP:
            one.skip(Occurrence.Reason.OVERLAP, "A run of the job was still active.")
        elif at_work[one.job.pk]:
            one.skip(Occurrence.Reason.OVERLAP, "A run of the job waited already.")


def _skip_refused(wanted: Iterable[Planned]) -> Versions:
    """Leave out what Backup Now would refuse, in the same words; gives the versions to run.

    Parameters are held once against each version that an agent has brought since.
    """
    starting = [one for one in wanted if not one.reason]
    versions = catalogue.newest_versions(version_of(one.job) for one in starting)
    for one in starting:
        job, words = one.job, ""
        if job.target__archived_at is not None:
            words = starts.archived(job.target__name)
        elif job.agent__retired_at is not None:
            words = starts.retired(job.agent__name, job.name)
        elif version_of(job) not in versions:
            words = "No agent has ever advertised its function."
        if words:
            one.skip(Occurrence.Reason.REFUSED, words)
    _skip_of_others(one for one in starting if not one.reason)
    # What a job was saved with fitted the version of that day.
    newer = {
        one.job.pk: one
        for one in starting
        if not one.reason and one.job.checked_version_id != versions[version_of(one.job)].pk
    }
    given = Job.objects.filter(pk__in=newer).values_list("pk", "parameters") if newer else ()
    fitting: dict[int, list[int]] = {}
    for pk, parameters in given:
        version = versions[version_of(newer[pk].job)]
        try:
            starts.check_parameters(version, parameters)
        except Refused as refusal:
            newer[pk].skip(Occurrence.Reason.REFUSED, refusal.detail)
        else:
            fitting.setdefault(version.pk, []).append(pk)
    for checked, pks in fitting.items():
        Job.objects.filter(pk__in=pks).update(checked_version=checked)
    return versions


def _skip_of_others(wanted: Iterable[Planned]) -> None:
    """Leave out jobs whose owner, as whom they start, may not start them any more."""
    owned: dict[int, list[Planned]] = {}
    for one in wanted:
        owned.setdefault(one.job.owner_id, []).append(one)
    owners = User.objects.in_bulk(owned) if owned else {}
    for pk, theirs in owned.items():
        owner = owners[pk]
        may = job_policy.permitted(owner, ["start"], [one.job.pk for one in theirs])
        for one in theirs:
            if not owner.is_active or "start" not in may[one.job.pk]:
                words = f"Its owner {owner} may not start it any more: give it another one."
                one.skip(Occurrence.Reason.REFUSED, words)


def version_of(job: Any) -> tuple[int, str]:
    """Say which version of which function a job asks for."""
    return job.function_id, job.version
