"""Which parameters narrow the lists of jobs and runs, in the API and in the portal alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from agents.permissions import agent_policy, function_policy
from sites.filters import (
    ArchivedFilter,
    ChoicesFilter,
    FlagFilter,
    KeyFilter,
    ListFilter,
    TextFilter,
    TimeFilter,
    as_stored,
)
from sites.models import Organization, Target
from sites.permissions import organization_policy, site_policy, target_policy

from .coverage import Gap
from .models import Job, JobRun, Occurrence, Proposal
from .models.schedule import LATE_S
from .permissions import job_policy
from .querysets import RunQuerySet
from .searching import runs_with
from .states import OUTCOMES, Origin, Result, Status


class RunFilter(ListFilter):
    """Narrows runs. The order, the page and who may see them are not asked here."""

    search = TextFilter(
        method="look_for", label="Part of the name, or the beginning of the id or external id."
    )
    status = ChoicesFilter(Status.choices, also={"cancelled": Status.CANCELED})
    outcome = filters.ChoiceFilter(
        choices=[(name, name) for name in OUTCOMES], method="with_outcome"
    )
    result = ChoicesFilter(Result.choices, method="with_results")
    origin = ChoicesFilter(Origin.choices)
    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    target = KeyFilter(target_policy, "target")
    job = KeyFilter(job_policy, "job")
    function = KeyFilter(function_policy, "function")
    agent = KeyFilter(agent_policy, "agent")
    tool = TextFilter(field_name="tool", label="Name of the tool (Source).")
    external_id = TextFilter(field_name="external_id", label="The id in the tool it comes from.")
    tag = TextFilter(method="tagged", label="One of the run's tags.")
    mine = FlagFilter(method="own", label="Only the runs that you started.")
    started_after = TimeFilter(
        method="since",
        label="Started at or after this instant; what never started counts by when it was made.",
    )
    started_before = TimeFilter(method="until", label="Started before this instant.")
    created_after = TimeFilter(
        field_name="created_at", lookup_expr="gte", label="Made at or after this instant."
    )
    created_before = TimeFilter(
        field_name="created_at", lookup_expr="lt", label="Made before this instant."
    )

    class Meta:
        model = JobRun
        fields: list[str] = []

    def __init__(self, *args: Any, list_of: Organization | None = None, **more: Any) -> None:
        """Prepare; `list_of` is the organization that the runs are of, where they are of one."""
        super().__init__(*args, **more)
        self.list_of = list_of

    def look_for(self, queryset: RunQuerySet, name: str, value: str) -> RunQuerySet:
        seen = organization_policy.rows(self.request.user, "view", Organization.objects.all())
        if chosen := self.list_of or self.form.cleaned_data.get("organization"):
            seen = seen.filter(pk=chosen.pk)
        return queryset.filter(runs_with(value, list(seen.values_list("pk", flat=True))))

    def with_outcome(self, queryset: RunQuerySet, name: str, value: str) -> RunQuerySet:
        return queryset.with_outcome(value)

    def with_results(self, queryset: RunQuerySet, name: str, value: list[str]) -> RunQuerySet:
        return queryset.with_results(value)

    def tagged(self, queryset: RunQuerySet, name: str, value: str) -> RunQuerySet:
        return queryset.tagged(value)

    def own(self, queryset: RunQuerySet, name: str, value: bool) -> RunQuerySet:
        return queryset.mine(self.request.user) if value else queryset

    # A run that never started counts by when it was made.

    def since(self, queryset: RunQuerySet, name: str, value: datetime) -> RunQuerySet:
        at = as_stored(value)
        return queryset.filter(Q(started_at__gte=at) | Q(started_at=None, created_at__gte=at))

    def until(self, queryset: RunQuerySet, name: str, value: datetime) -> RunQuerySet:
        at = as_stored(value)
        return queryset.filter(Q(started_at__lt=at) | Q(started_at=None, created_at__lt=at))


class ProposalFilter(ListFilter):
    """Narrows proposed changes; without `state` the open ones are listed."""

    state = ChoicesFilter(Proposal.State.choices)
    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    target = KeyFilter(target_policy, "target")

    class Meta:
        model = Proposal
        fields: list[str] = []


class JobFilter(ListFilter):
    """Narrows saved jobs."""

    search = TextFilter(
        method="look_for",
        label="Part of the name of the job, its target or agent, or the external id's beginning.",
    )
    backs_up = FlagFilter(method="that_back_up", label="Whether the function leaves a snapshot.")
    paused = FlagFilter(
        method="that_are_paused", label="Whether the job or its site is paused now."
    )
    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    target = KeyFilter(target_policy, "target")
    function = KeyFilter(function_policy, "function")
    agent = KeyFilter(agent_policy, "agent")
    tag = TextFilter(method="tagged", label="One of the job's tags.")
    archived = ArchivedFilter()

    class Meta:
        model = Job
        fields: list[str] = []

    def look_for(self, queryset: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        named = Q(name__icontains=value) | Q(target__name__icontains=value)
        of_agent = Q(agent__name__icontains=value) | Q(pool__name__icontains=value)
        return queryset.filter(named | of_agent | Q(external_id__startswith=value))

    def that_back_up(self, queryset: Any, name: str, value: bool) -> Any:
        return queryset.with_kind().filter(backs_up=value)

    def that_are_paused(self, queryset: Any, name: str, value: bool) -> Any:
        return queryset.paused() if value else queryset.exclude(pk__in=Job.objects.paused())

    def tagged(self, queryset: Any, name: str, value: str) -> Any:
        return queryset.tagged(value)


class CoverageFilter(ListFilter):
    """Narrows the targets that are not backed up as they should be."""

    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    kind = ChoicesFilter(Target.Kind.choices)
    gap = ChoicesFilter(Gap.choices)

    class Meta:
        model = Target
        fields: list[str] = []


class OccurrenceFilter(ListFilter):
    """Narrows planned starts."""

    organization = KeyFilter(organization_policy, "organization")
    site = KeyFilter(site_policy, "site")
    target = KeyFilter(target_policy, "target")
    job = KeyFilter(job_policy, "job")
    outcome = ChoicesFilter(Occurrence.Outcome.choices)
    reason = ChoicesFilter(Occurrence.Reason.choices, method="for_reasons")
    late = FlagFilter(
        method="that_were_late",
        label="Started, and more than a minute after its time; false: on time."
        " Neither where the run never began.",
    )
    never_began = FlagFilter(
        field_name="never_began",
        label="Started, and the run ended before its work had begun: nobody took it, or it was"
        " canceled.",
    )
    planned_after = TimeFilter(
        field_name="planned_at", lookup_expr="gte", label="Planned at or after this instant."
    )
    planned_before = TimeFilter(
        field_name="planned_at", lookup_expr="lt", label="Planned before this instant."
    )

    class Meta:
        model = Occurrence
        fields: list[str] = []

    def for_reasons(self, queryset: Any, name: str, value: list[str]) -> Any:
        # Whatever was not started has a reason, and there is an index of these.
        rare = (Occurrence.Outcome.SKIPPED, Occurrence.Outcome.MISSED)
        return queryset.filter(reason__in=value, outcome__in=rare)

    def that_were_late(self, queryset: Any, name: str, value: bool) -> Any:
        span = "late_s__gt" if value else "late_s__lte"
        started = queryset.filter(outcome=Occurrence.Outcome.STARTED, never_began=False)
        return started.filter(**{span: LATE_S})
