"""Which targets are not backed up as they should be: what is missing, and since when."""

from __future__ import annotations

from typing import Any

from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    Exists,
    F,
    FloatField,
    Func,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from sites.access.policy import Person
from sites.models import Organization, Target

from .models import Job, JobRun
from .permissions import run_policy


class Gap(TextChoices):
    """What is missing, the first that is true."""

    NO_JOB = "no_job", "No job backs it up"
    NEVER = "never", "Never backed up"
    OVERDUE = "overdue", "Backed up too long ago"


class HoursSince(Func):
    """How long ago an instant was by the database's clock, in hours."""

    output_field = FloatField()
    template = "(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP() - %(expressions)s) / 3600.0)"

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        text = "((JULIANDAY('now') - JULIANDAY(%(expressions)s)) * 24.0)"
        return self.as_sql(compiler, connection, template=text, **more)


def _backing_up() -> QuerySet[Any]:
    jobs: Any = Job.objects.in_use().with_kind()
    found: QuerySet[Any] = jobs.filter(backs_up=True)
    return found


def _newest_good(user: Person) -> QuerySet[JobRun]:
    runs = JobRun.objects.filter(target=OuterRef("pk")).good_backups()
    return run_policy.rows(user, "view", runs).order_by("-created_at", "-id")


def targets_of(user: Person) -> QuerySet[Any]:
    """Say of each target in use what is missing (`gap`, empty for nothing), when its newest good
    backup began (`backed_up_at`) and how old it may be (`objective_h`).

    Of the runs that the person may see (domain rule 2): another one may be good. Which targets they
    may see the caller asks.
    """
    newest = _newest_good(user)
    backing_up = _backing_up().filter(target=OuterRef("pk"))
    in_use = Target.objects.filter(archived_at=None, site__archived_at=None)
    found: QuerySet[Any] = in_use.annotate(
        has_job=Exists(backing_up),
        backed_up_at=Subquery(
            newest.values(began=Coalesce("started_at", "created_at"))[:1],
            output_field=DateTimeField(),
        ),
        objective_h=Coalesce("recovery_point_h", "site__recovery_point_h"),
    )
    return found.annotate(
        gap=Case(
            When(has_job=False, then=Value(Gap.NO_JOB)),
            When(backed_up_at=None, then=Value(Gap.NEVER)),
            When(
                Q(objective_h__lt=HoursSince(F("backed_up_at"))),
                then=Value(Gap.OVERDUE),
            ),
            default=Value(""),
            output_field=CharField(),
        )
    )


def gaps_of(user: Person, organization: Organization | None = None) -> QuerySet[Any]:
    """Give the targets of which something is missing, with the run and the jobs of its row."""
    found = targets_of(user)
    if organization is not None:
        found = found.filter(organization=organization)
    jobs = _backing_up().select_related("site").order_by("name", "pk")
    newest = _newest_good(user)
    return (
        found.exclude(gap="")
        .annotate(backup_id=Subquery(newest.values("public_id")[:1]))
        .select_related("organization", "site")
        .prefetch_related(Prefetch("jobs", queryset=jobs, to_attr="backup_jobs"))
    )
