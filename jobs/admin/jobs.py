"""The admin of saved jobs: Backup Now, editing without its secrets, archiving."""

from functools import cached_property
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget

from sites.access.admin import Among, ScopedForm, person
from sites.access.bulk import ask_each
from sites.access.pausing_admin import PausingAdmin
from sites.access.sheet_admin import SheetAdmin
from sites.json_field import JSONField
from sites.masking import HIDDEN, restored

from .. import definitions, planning, starts
from ..job_sheet import JOBS
from ..masking import shown_parameters
from ..models import Job
from ..permissions import job_policy
from ..states import RETRIED


class JobForm(ScopedForm):
    """A saved job; its site and organization are its target's."""

    parameters = JSONField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}),
        help_text=f"A JSON object. Secrets read {HIDDEN}; leave that to keep them.",
    )

    class Meta:
        labels = {
            "enabled": "The schedule is on",
            "schedule_kind": "Starts",
            "schedule_time": "At",
            "schedule_days": "On",
            "schedule_cron": "Cron expression",
            "overlap": "While a run is still active",
            "grace_s": "Made up for when late, seconds",
            "spread_s": "Spread over, seconds",
            "site_order": "Place in the site's schedule",
            "retries": "Tried again, times",
            "retry_wait_s": "First wait before that, seconds",
            "retry_reasons": "Tried again after",
            "run_timeout_s": "Longest run, seconds",
            "queue_timeout_s": "Longest wait, seconds",
            "auto_commit": "A change that is found becomes the accepted backup at once",
            "describe_changes": "The commit message says what changed",
            "describe_with_model": "… in the words of the installation's language model",
        }
        help_texts = {
            "version": "Empty: the newest that an agent has.",
            "tags": 'A JSON list, such as ["nightly"].',
            "retries": "A run that ended badly; 0: never.",
            "retry_wait_s": "It doubles with each try, up to a day.",
            "retry_reasons": f"A JSON list of some of {', '.join(RETRIED)}.",
            "schedule_time": "Of every day, Monday to Friday and chosen days; in the site's zone.",
            "schedule_days": 'Of chosen days: a JSON list, such as ["mon", "fri"].',
        }
        widgets = {
            "tags": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
            "retry_reasons": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "parameters" in self.fields:
            self.initial["parameters"] = shown_parameters(self.instance.function, self.stored)

    @cached_property
    def stored(self) -> dict[str, Any]:
        """What the database holds; the instance changes while the form is checked."""
        found = Job.objects.filter(pk=self.instance.pk).values_list("parameters", flat=True).first()
        return found or {}

    def clean_parameters(self) -> dict[str, Any]:
        """Put the hidden values back."""
        value = self.cleaned_data["parameters"] or {}
        if not isinstance(value, dict):
            raise forms.ValidationError("Write a JSON object, such as {}.")
        try:
            return dict(restored(value, self.stored))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        """Take site and organization from the target, and drop what the assignment names not."""
        data = super().clean() or {}
        target = data.get("target")
        if target:
            self.instance.site, self.instance.organization = target.site, target.organization
        if data.get("assignment") != "agent":
            data["agent"] = None
        if data.get("assignment") != "pool":
            data["pool"] = None
        return data

    def _post_clean(self) -> None:
        """Ask the rules about agent, pool and parameters, as every other door does."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        planning.tidy(self.instance)
        for name, texts in definitions.faults(self.instance, by=self.user).items():
            field, _, part = name.partition(".")
            field = f"schedule_{part}" if field == "schedule" else field
            self.take({field: [f"{name}: {text}" for text in texts]})


@admin.register(Job)
class JobAdmin(PausingAdmin, SheetAdmin):
    policy = job_policy
    sheet = JOBS
    sheet_joins = ("organization", "site", "target", "function__tool", "agent", "pool")
    sheet_prefetches = ("function__versions",)
    form = JobForm
    may_change = "edit"
    may_add = ("target", "create_job")
    choices = {"agent": "choose", "pool": "choose"}
    fixed = ("target", "function")
    begin, end = definitions.pause, definitions.resume
    acts = {"start": "start", **dict.fromkeys(("pause", "resume", "archive"), "edit")}
    actions_detail = ("start", "pause", "resume", "archive")
    actions = ("start_each", "pause_each", "archive_each")
    list_display = ("name", "target", "site", "function", "owner", "assignment", "archived_at")
    list_select_related = ("target", "site", "function__tool", "owner")
    list_filter = (
        ("site", Among),
        ("function", Among),
        ("assignment", ChoicesDropdownFilter),
        ("archived_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name", "target__name")
    readonly_fields = ("site", "organization", "owner", "public_id", "created_at", "updated_at")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave the parameters out where they would be printed instead of masked in the form."""
        changes = obj is None or self.has_change_permission(request, obj)
        what = ("name", "target", "function", "version", *(("parameters",) if changes else ()))
        sets = [
            (None, {"fields": what}),
            ("Who carries it out", {"fields": ("assignment", "agent", "pool")}),
            (
                "Limits",
                {"fields": ("run_timeout_s", "queue_timeout_s")},
            ),
            ("Retries", {"fields": ("retries", "retry_wait_s", "retry_reasons")}),
            (
                "Schedule",
                {
                    "fields": (
                        "enabled",
                        "schedule_kind",
                        "schedule_time",
                        "schedule_days",
                        "schedule_cron",
                        "overlap",
                        "grace_s",
                        "spread_s",
                        "site_order",
                    )
                },
            ),
            ("Backups", {"fields": ("auto_commit", "describe_changes", "describe_with_model")}),
            ("Marks", {"fields": ("tags", "external_id")}),
        ]
        if obj is not None:
            sets.append(("About", {"fields": (*self.readonly_fields, "archived_at")}))
        return self.with_pause(sets, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "archived_at")

    def save_model(self, request: HttpRequest, obj: Job, form: Any, change: bool) -> None:
        if not change:
            obj.owner = person(request)
        definitions.save(obj, by=person(request))

    @action(description="Backup Now", icon="play_arrow", variant=ActionVariant.PRIMARY)
    def start(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Start the job, or show the run that is at work already."""

        def do(job: Job) -> HttpResponseBase:
            started = starts.start_run(job, by=person(request))
            words = "was started" if started.created else "is at work already"
            messages.success(request, f"Run {started.run} {words}.")
            return redirect("admin:jobs_jobrun_change", started.run.pk)

        return self.ask(
            request,
            object_id,
            "start",
            title="Backup Now",
            question=lambda job: f"Start job {job} on {job.target} now?",
            do=do,
        )

    @action(description="Archive", icon="archive", variant=ActionVariant.DANGER)
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Put the job away."""

        def do(job: Job) -> str:
            definitions.archive(job, by=person(request))
            return f"Job {job} is archived."

        return self.ask(
            request,
            object_id,
            "archive",
            title="Archive job",
            question=lambda job: (
                f"Archive job {job}? It starts no more and leaves the lists; "
                "its runs and history stay."
            ),
            do=do,
            danger=True,
        )

    @action(description="Backup Now")
    def start_each(self, request: HttpRequest, queryset: Any) -> Any:
        """Start several jobs, or say which of them are at work already."""

        def do(job: Job) -> str:
            started = starts.start_run(job, by=person(request))
            words = "was started" if started.created else "is at work already"
            return f"{job}: run {started.run} {words}."

        return ask_each(
            self,
            request,
            queryset.select_related("organization", "site", "target", "function"),
            "start",
            title="Backup Now",
            question="Start these jobs now? Each makes a run of its own.",
            do=do,
        )

    @action(description="Archive")
    def archive_each(self, request: HttpRequest, queryset: Any) -> Any:
        """Put several jobs away."""

        def do(job: Job) -> str:
            definitions.archive(job, by=person(request))
            return f"Job {job} is archived."

        return ask_each(
            self,
            request,
            queryset,
            "archive",
            title="Archive jobs",
            question="Archive these jobs? They start no more and leave the lists; their runs and "
            "history stay.",
            do=do,
            danger=True,
        )
