"""The admin of what runs left: files, records, log pieces, late reports; never inputs."""

from typing import Any

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from sites.access.admin import Between, ScopedAdmin

from ..models import LateReport, RunFile, RunLog, RunRecord
from ..permissions import run_policy


class LeftByRun(ScopedAdmin):
    """What is seen by whoever sees the run."""

    policy = run_policy
    through = "run"
    organization = "run__organization"
    list_select_related: Any = ("run",)
    ordering = ("-id",)


@admin.register(RunFile)
class RunFileAdmin(LeftByRun):
    list_display = ("name", "run", "media_type", "size", "created_at")
    list_filter = (("created_at", Between),)
    readonly_fields = fields = (
        "run",
        "name",
        "media_type",
        "size",
        "sha256",
        "public_id",
        "created_at",
    )


@admin.register(RunRecord)
class RunRecordAdmin(LeftByRun):
    list_display = ("run", "sequence", "record_id", "name", "status", "processed_at")
    list_filter = (("status", ChoicesDropdownFilter),)
    readonly_fields = fields = (
        "run",
        "sequence",
        "record_id",
        "name",
        "status",
        "result",
        "error",
        "processed_at",
    )


@admin.register(RunLog)
class RunLogAdmin(LeftByRun):
    list_display = ("run", "offset", "size", "at")
    readonly_fields = fields = ("run", "offset", "size", "at", "text")


@admin.register(LateReport)
class LateReportAdmin(LeftByRun):
    list_display = ("run", "attempt", "agent", "at")
    list_select_related = ("run", "agent")
    readonly_fields = fields = ("run", "attempt", "agent", "at", "report")
