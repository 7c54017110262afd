"""The admin of sites, targets and their snapshots."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from ..access.admin import Among, Between, ScopedAdmin, ScopedForm, person
from ..access.granting import GrantingAdmin
from ..access.pausing_admin import PausingAdmin
from ..access.sheet_admin import SheetAdmin
from ..archiving import archive_site, archive_target
from ..json_field import JSONField
from ..masking import HIDDEN, masked
from ..models import Site, Snapshot, Target
from ..permissions import (
    site_policy,
    snapshot_policy,
    target_policy,
)
from ..places import check_target, pause_site, resume_site, save_site, save_target
from ..problems import Refused
from ..target_sheet import TARGETS


@admin.register(Site)
class SiteAdmin(PausingAdmin, GrantingAdmin):
    policy = site_policy
    may_change = "manage"
    may_add = ("organization", "create_site")
    fixed = ("organization", "time_zone")
    begin, end = pause_site, resume_site
    acts = {**GrantingAdmin.acts, "pause": "manage", "resume": "manage", "archive": "delete"}
    actions_detail = ("people_and_roles", "pause", "resume", "archive")
    actions = ("pause_each",)
    list_display = ("name", "organization", "time_zone", "archived_at")
    list_select_related = ("organization",)
    list_filter = (("organization", Among), ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("name",)
    fields = (
        "organization", "name", "time_zone", "run_timeout_s", "queue_timeout_s",
        "recovery_point_h", "public_id", "created_at", "archived_at",
    )  # fmt: skip
    readonly_fields = ("public_id", "created_at", "archived_at")

    def save_model(self, request: HttpRequest, obj: Site, form: Any, change: bool) -> None:
        save_site(obj, **(self.changes(obj, form) if change else {}))

    @action(description="Archive", icon="archive", variant=ActionVariant.DANGER)
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Put the site away with its targets."""

        def do(site: Site) -> str:
            archive_site(site)
            return f"Site {site} is archived."

        return self.ask(
            request,
            object_id,
            "archive",
            title="Archive site",
            question=lambda site: (
                f"Archive site {site} with its targets? Jobs there can no longer be started. "
                "Runs, snapshots and history stay."
            ),
            do=do,
            danger=True,
        )


class MaskedJSONField(JSONField):
    """A document shown without its secrets; what still says •••• keeps its stored value."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 5})

    def prepare_value(self, value: Any) -> Any:
        return super().prepare_value(value if isinstance(value, str) else masked(value))


class TargetForm(ScopedForm):
    settings = MaskedJSONField(
        required=False,
        help_text=f"A JSON object. Passwords and keys read {HIDDEN}; leave that to keep them.",
    )

    clear_job_secrets = forms.BooleanField(
        label="Clear the secrets of its jobs",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="For a new address: they were given for the one of before. "
        "Write them out anew in each job.",
    )

    def clean_settings(self) -> dict[str, Any]:
        """Take an object alone; what it hides is put back when it is stored."""
        value = self.cleaned_data["settings"] or {}
        if not isinstance(value, dict):
            raise forms.ValidationError("Write a JSON object, such as {}.")
        return value

    def clean(self) -> dict[str, Any]:
        """Take the organization from the site, never from the form; ask whether it may move."""
        data = super().clean() or {}
        if data.get("site"):
            self.instance.organization = data["site"].organization
        names: tuple[str, ...] = ("address", "settings")
        changes = {name: data[name] for name in names if name in data}
        if "credential" in self.changed_data:
            changes["credential"] = data.get("credential")
        try:
            check_target(
                self.instance, clear_secrets=bool(data.get("clear_job_secrets")), **changes
            )
        except Refused as refusal:
            self.take(refusal.errors or {"": [refusal.detail]})
        return data


@admin.register(Target)
class TargetAdmin(GrantingAdmin, SheetAdmin):
    policy = target_policy
    sheet = TARGETS
    sheet_joins = ("organization", "site")
    form = TargetForm
    may_change = "edit"
    may_add = ("site", "create_target")
    choices = {"credential": "manage"}
    fixed = ("site", "kind")
    acts = {**GrantingAdmin.acts, "archive": "delete"}
    actions_detail = ("people_and_roles", "archive")
    list_display = ("name", "kind", "site", "organization", "archived_at")
    list_select_related = ("site", "organization")
    list_filter = (
        ("site", Among),
        ("kind", ChoicesDropdownFilter),
        ("archived_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name", "address")
    add_fieldsets = (
        (
            None,
            {
                "fields": (
                    "site",
                    "name",
                    "kind",
                    "address",
                    "credential",
                    "settings",
                    "recovery_point_h",
                )
            },
        ),
    )
    readonly_fields = ("organization", "public_id", "accepted_snapshot", "created_by", "created_at")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave the settings out where they would be printed instead of masked in the form."""
        if obj is None:
            return self.add_fieldsets
        may = self.has_change_permission(request, obj)
        settings = ("settings", "clear_job_secrets") if may else ()
        about = ("site", "name", "kind", "address", "credential", *settings, "recovery_point_h")
        return (
            (None, {"fields": about}),
            ("About", {"fields": (*self.readonly_fields, "archived_at")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "archived_at")

    def save_model(self, request: HttpRequest, obj: Target, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = person(request)
        clear = bool(form.cleaned_data.get("clear_job_secrets"))
        save_target(obj, clear_secrets=clear, **(self.changes(obj, form) if change else {}))

    @action(description="Archive", icon="archive", variant=ActionVariant.DANGER)
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Put the target away."""

        def do(target: Target) -> str:
            archive_target(target)
            return f"Target {target} is archived."

        return self.ask(
            request,
            object_id,
            "archive",
            title="Archive target",
            question=lambda target: (
                f"Archive target {target}? Its jobs can no longer be started. "
                "Runs, snapshots and history stay."
            ),
            do=do,
            danger=True,
        )


@admin.register(Snapshot)
class SnapshotAdmin(ScopedAdmin):
    policy = snapshot_policy
    list_display = ("commit", "target", "created_at", "files", "size", "changes", "accepted_at")
    list_select_related = ("target",)
    list_filter = (("created_at", Between),)
    search_fields = ("target__name", "commit_id__startswith")
    ordering = ("-created_at", "-id")
    readonly_fields = fields = (
        "public_id",
        "target",
        "commit_id",
        "tree_id",
        "base",
        "message",
        "files",
        "size",
        "added",
        "modified",
        "removed",
        "renamed",
        "created_by",
        "created_at",
        "accepted_at",
        "purged_at",
        "purged_by",
    )

    @display(description="Commit", ordering="commit_id")
    def commit(self, snapshot: Snapshot) -> str:
        return snapshot.commit_id[:7]

    @display(description="Changes")
    def changes(self, snapshot: Snapshot) -> int:
        return snapshot.changes
