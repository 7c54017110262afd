"""The admin of what agents can do, as they advertised it: to be read."""

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from sites.access.admin import Among, ScopedAdmin

from ..models import Function, FunctionVersion, Queue, Tool
from ..permissions import function_policy


@admin.register(Function)
class FunctionAdmin(ScopedAdmin):
    policy = function_policy
    list_display = ("__str__", "tool", "organization")
    list_select_related = ("tool", "organization")
    list_filter = (("organization", Among),)
    search_fields = ("name", "tool__name")
    readonly_fields = fields = ("organization", "tool", "name", "public_id")


@admin.register(Tool)
class ToolAdmin(ScopedAdmin):
    """A tool is seen by whoever sees its functions."""

    policy = function_policy
    through = "functions"
    list_display = ("name", "organization")
    list_select_related = ("organization",)
    search_fields = ("name",)
    readonly_fields = fields = ("organization", "name")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Tool]:
        return super().get_queryset(request).distinct()


@admin.register(FunctionVersion)
class FunctionVersionAdmin(ScopedAdmin):
    policy = function_policy
    through = "function"
    organization = "function__organization"
    list_display = ("function", "version", "title", "produces", "created_at")
    list_select_related = ("function__tool",)
    list_filter = (("produces", ChoicesDropdownFilter),)
    search_fields = ("function__name", "version")
    readonly_fields = fields = (
        "function",
        "version",
        "title",
        "produces",
        "takes",
        "parameters",
        "agents",
        "created_at",
    )


@admin.register(Queue)
class QueueAdmin(ScopedAdmin):
    policy = function_policy
    through = "function"
    list_display = ("__str__", "site", "function", "version", "assignment", "agent", "pool")
    list_select_related = ("site", "function__tool", "agent", "pool")
    list_filter = (("site", Among),)
    readonly_fields = fields = (
        "organization",
        "site",
        "function",
        "version",
        "assignment",
        "agent",
        "pool",
    )
