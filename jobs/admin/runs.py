"""The admin of runs and of their status history: to be read, never changed."""

import re
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.views import ChangeList

from agents.permissions import agent_policy
from sites.access.admin import Among, Between, ScopedAdmin, ScopedInline, person
from sites.access.lists import ScopedList

from .. import starts, transitions, waiting
from ..models import Claim, JobRun, LateReport, RunFile, RunRecord, StatusTransition
from ..permissions import may_retry, run_policy
from ..querysets import RunQuerySet
from ..states import FINAL, Origin, Status

COLORS = {
    "Pending": "info",
    "Claimed": "info",
    "Running": "info",
    "Validating": "info",
    "Uploading": "info",
    "Completed": "success",
    "Failed": "danger",
    "Canceled": "default",
    "Timed Out": "danger",
}
RESULTS = {
    "Success": "success",
    "Up to Date": "success",
    "Modified": "warning",
    "Partial": "warning",
}


class RunList(ScopedList):
    """A page of runs that says why each of them waits."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = waiting.told(self.result_list, by=person(request))


class TransitionsInline(ScopedInline):
    model = StatusTransition
    ordering = ("sequence",)
    fields = readonly_fields = ("sequence", "at", "move", "who", "reason", "message")
    verbose_name_plural = "status history"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[StatusTransition]:
        return super().get_queryset(request).select_related("user", "agent")

    @display(description="Status")
    def move(self, transition: StatusTransition) -> str:
        return transition.get_to_status_display()

    @display(description="By")
    def who(self, transition: StatusTransition) -> str:
        return who_moved(transition)


class FilesInline(ScopedInline):
    model = RunFile
    fields = readonly_fields = ("name", "media_type", "size", "sha256", "created_at")
    verbose_name_plural = "files"
    hide_title = True


class RecordsInline(ScopedInline):
    model = RunRecord
    ordering = ("sequence",)
    fields = readonly_fields = (
        "sequence",
        "record_id",
        "name",
        "status",
        "result",
        "error",
        "processed_at",
    )
    verbose_name_plural = "records"
    hide_title = True


class LateReportsInline(ScopedInline):
    model = LateReport
    fields = readonly_fields = ("attempt", "agent", "at", "report")
    verbose_name_plural = "late reports"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[LateReport]:
        return super().get_queryset(request).select_related("agent")


def who_moved(transition: StatusTransition) -> str:
    """Name the person or agent that moved a run on, or the portal itself."""
    if transition.user:
        return str(transition.user)
    return f"Agent {transition.agent}" if transition.agent else "Portal"


class WithResult(ChoicesDropdownFilter):
    """Narrow to the runs with a result, along their index."""

    def queryset(self, request: HttpRequest, queryset: RunQuerySet) -> models.QuerySet[Any] | None:
        if result := self.value():
            return queryset.with_results([result])
        return super().queryset(request, queryset)


@admin.register(JobRun)
class RunAdmin(ScopedAdmin):
    """Runs. Parameters and inputs have no place here: they are the starter's, in the portal."""

    policy = run_policy
    acts = {"cancel": "cancel", "retry": "retry"}
    actions_detail = ("retry", "cancel")
    list_display = (
        "short_id",
        "name",
        "shown_status",
        "brief_wait",
        "shown_result",
        "site",
        "target",
        "agent",
        "started_by",
        "created_at",
    )
    list_select_related = ("site", "target", "job", "agent", "started_by")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("result", WithResult),
        ("site", Among),
        ("agent", Among),
        ("created_at", Between),
    )
    search_fields = ("public_id",)
    search_help_text = "The first characters of a run's id, or all of it"
    ordering = ("-created_at", "-id")
    sortable_by = ("created_at",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "public_id",
                    "name",
                    "shown_status",
                    "waits",
                    "shown_result",
                    "reason",
                    "message",
                    "summary",
                    "error",
                    "progress",
                )
            },
        ),
        (
            "Where",
            {
                "classes": ("tab",),
                "fields": ("organization", "site", "target", "job", "function", "version"),
            },
        ),
        (
            "Who",
            {
                "classes": ("tab",),
                "fields": (
                    "started_by",
                    "assignment",
                    "requested_agent",
                    "requested_pool",
                    "agent",
                    "attempt",
                ),
            },
        ),
        (
            "When",
            {
                "classes": ("tab",),
                "fields": (
                    "created_at",
                    "started_at",
                    "finished_at",
                    "duration",
                    "queue_until",
                    "lease_until",
                    "deadline_at",
                ),
            },
        ),
        (
            "What came of it",
            {
                "classes": ("tab",),
                "fields": (
                    "records",
                    "count_total",
                    "count_successful",
                    "count_failed",
                    "count_skipped",
                    "snapshot",
                    "base_snapshot",
                    "log_length",
                    "tags",
                    "data",
                ),
            },
        ),
        (
            "Origin",
            {
                "classes": ("tab",),
                "fields": (
                    "origin",
                    "tool",
                    "type",
                    "external_id",
                    "robot",
                    "retry_of",
                    "try_number",
                    "tries_left",
                    "retry_at",
                    "retry_note",
                    "pinned_at",
                ),
            },
        ),
    )
    inlines = (TransitionsInline, RecordsInline, FilesInline, LateReportsInline)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Show the history always; records, files and late reports where there are any."""
        shown: list[Any] = [TransitionsInline]
        shown += [RecordsInline] if obj and obj.records.exists() else []
        shown += [FilesInline] if obj and obj.files.exists() else []
        shown += [LateReportsInline] if obj and obj.late_reports.exists() else []
        return shown

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return tuple(name for _, rows in self.fieldsets for name in rows["fields"])

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[JobRun]:
        runs: models.QuerySet[JobRun] = super().get_queryset(request).defer("parameters")
        return runs

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Find by the first characters of the id, on its index, however many runs there are."""
        term = search_term.strip().replace("-", "").lower()
        if not term:
            return queryset, False
        if not re.fullmatch(r"[0-9a-f]{1,32}", term):
            return queryset.none(), False
        first, last = UUID(term.ljust(32, "0")), UUID(term.ljust(32, "f"))
        return queryset.filter(public_id__range=(first, last)), False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        run: Any = super().get_object(request, object_id, from_field)
        if run is not None:
            run.waits = waiting.of(run, by=person(request))
        return run

    @display(description="Why it waits")
    def waits(self, run: Any) -> str:
        return f"{run.waits.message} {run.waits.act}".strip() if run.waits else "–"

    @display(description="Why it waits")
    def brief_wait(self, run: Any) -> str:
        return waiting.brief(run)

    @display(description="Run")
    def short_id(self, run: JobRun) -> str:
        return str(run.public_id)[:6]

    @display(description="Status", label=COLORS)
    def shown_status(self, run: JobRun) -> str:
        return run.get_status_display()

    @display(description="Result", label=RESULTS)
    def shown_result(self, run: JobRun) -> str:
        return run.get_result_display() if run.result else ""

    @display(description="Duration")
    def duration(self, run: JobRun) -> str:
        return f"{run.duration_s:,.1f} s" if run.duration_s is not None else "–"

    @display(description="Records")
    def records(self, run: JobRun) -> int:
        return run.records.count()

    def permits(self, name: str, request: HttpRequest, obj: JobRun) -> bool:
        """A retry is asked of the job, or of the run and its target."""
        if name == "retry":
            return may_retry(request.user, obj)
        return super().permits(name, request, obj)

    def offers(self, name: str, obj: JobRun) -> bool:
        if obj.origin != Origin.LOCAL:
            return False
        return obj.status == Status.PENDING if name == "cancel" else obj.status in FINAL

    @action(description="Cancel", icon="cancel", variant=ActionVariant.DANGER)
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Take one's own pending run back."""

        def do(run: JobRun) -> str:
            transitions.cancel(run, by=person(request))
            return f"Run {run} is canceled."

        return self.ask(
            request,
            object_id,
            "cancel",
            title="Cancel run",
            question=lambda run: f"Cancel run {run} before an agent takes it?",
            do=do,
            danger=True,
        )

    @action(description="Retry", icon="replay")
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Make a new run from one that has ended."""

        def do(run: JobRun) -> HttpResponseBase:
            again = starts.retry(run, by=person(request))
            words = f"was made from {run}" if again.created else "is at work already"
            messages.success(request, f"Run {again.run} {words}.")
            return redirect("admin:jobs_jobrun_change", again.run.pk)

        return self.ask(
            request,
            object_id,
            "retry",
            title="Retry run",
            question=lambda run: f"Start a new run like {run}? You will be its starter.",
            do=do,
        )


@admin.register(StatusTransition)
class TransitionAdmin(ScopedAdmin):
    policy = run_policy
    through = "run"
    organization = "run__organization"
    list_display = ("at", "run", "from_status", "shown_to", "who", "reason")
    list_select_related = ("run", "user", "agent")
    list_filter = (("to_status", ChoicesDropdownFilter), ("at", Between))
    ordering = ("-id",)
    readonly_fields = fields = (
        "run",
        "sequence",
        "from_status",
        "to_status",
        "at",
        "who",
        "reason",
        "message",
    )

    @display(description="To", label=COLORS)
    def shown_to(self, transition: StatusTransition) -> str:
        return transition.get_to_status_display()

    @display(description="By")
    def who(self, transition: StatusTransition) -> str:
        return who_moved(transition)


@admin.register(Claim)
class ClaimAdmin(ScopedAdmin):
    """Claims are seen by whoever sees the agent."""

    policy = agent_policy
    through = "agent"
    organization = "agent__organization"
    list_display = ("claim_id", "agent", "at")
    list_select_related = ("agent",)
    list_filter = (("agent", Among),)
    ordering = ("-id",)
    readonly_fields = fields = ("claim_id", "agent", "at", "runs")
