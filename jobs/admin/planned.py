"""The admin of what starts by itself: schedules of sites, and what became of planned starts."""

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from sites.access.admin import Among, Between, ScopedAdmin
from sites.permissions import site_policy

from ..models import Occurrence, SiteSchedule
from ..permissions import occurrence_policy

COLORS = {
    "Started": "success",
    "Late": "warning",
    "Skipped": "default",
    "Never began": "danger",
    "Missed": "danger",
}


@admin.register(Occurrence)
class OccurrenceAdmin(ScopedAdmin):
    """The ledger is written by the planner and by the ends of runs, and by nobody else."""

    policy = occurrence_policy
    list_display = ("planned_at", "job", "fate", "reason", "late_s", "site")
    list_select_related = ("job", "site")
    list_filter = (
        ("outcome", ChoicesDropdownFilter),
        ("reason", ChoicesDropdownFilter),
        ("site", Among),
        ("planned_at", Between),
    )
    search_fields = ("job__name",)
    ordering = ("-planned_at", "-id")
    sortable_by = ("planned_at",)
    readonly_fields = fields = (
        "job",
        "target",
        "site",
        "organization",
        "starter",
        "planned_at",
        "at",
        "late_s",
        "fate",
        "reason",
        "message",
        "made",
    )

    @display(description="What became of it", label=COLORS)
    def fate(self, start: Occurrence) -> str:
        words = {"late": "Late", "never_began": "Never began"}
        return words.get(start.fate, start.get_outcome_display())

    @display(description="Run")
    def made(self, start: Occurrence) -> str:
        run = getattr(start, "run", None)
        if run is None:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:jobs_jobrun_change", args=[run.pk]), run
        )


@admin.register(SiteSchedule)
class SiteScheduleAdmin(ScopedAdmin):
    """To be read: a schedule is set where its next starts show while one types."""

    policy = site_policy
    through = "site"
    organization = "site__organization"
    list_display = ("site", "times", "next_run_at", "at_once", "schedule_fault")
    list_select_related = ("site__organization",)
    list_filter = (("site", Among),)
    search_fields = ("site__name",)
    ordering = ("site__name", "id")
    readonly_fields = fields = (
        "site",
        "times",
        "next_run_at",
        "at_once",
        "schedule_fault",
        "where",
    )

    @display(description="Starts")
    def times(self, planned: SiteSchedule) -> str:
        return planned.schedule_text

    @display(description="Change it")
    def where(self, planned: SiteSchedule) -> str:
        address = reverse("site-schedule", args=[planned.site.public_id])
        return format_html('<a href="{}">on the page of the schedule</a>', address)
