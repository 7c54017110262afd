"""The admin of what happened: Events and the audit log; and of one's own access tokens."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, Model
from django.http import HttpRequest, HttpResponseBase
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from .. import access_tokens
from ..access.admin import Among, Between, ScopedAdmin
from ..models import AccessToken, Event
from ..permissions import LogEntry, event_policy, log_policy, token_policy


@admin.register(Event)
class EventAdmin(ScopedAdmin):
    policy = event_policy
    organization = "organization_id"
    list_display = ("at", "kind", "subject_id", "site_id", "target_id")
    list_filter = (("at", Between),)
    ordering = ("-id",)
    readonly_fields = fields = (
        "kind",
        "subject_id",
        "at",
        "organization_id",
        "site_id",
        "target_id",
        "starter_id",
        "data",
        "fanned_out_at",
    )


@admin.register(AccessToken)
class AccessTokenAdmin(ScopedAdmin):
    """One's own tokens, without the token: that was shown once, where it was made."""

    policy = token_policy
    organization = ""
    acts = {"revoke": "revoke"}
    actions_detail = ("revoke",)
    list_display = ("name", "scope", "created_at", "expires_at", "last_used_at", "revoked_at")
    readonly_fields = fields = (
        "name",
        "scope",
        "public_id",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )

    def offers(self, name: str, obj: Any) -> bool:
        return obj.revoked_at is None

    @action(description="Revoke", icon="key_off", variant=ActionVariant.DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """End the token from the next request on."""

        def do(token: AccessToken) -> str:
            access_tokens.revoke(token)
            return f"Token {token} is revoked."

        return self.ask(
            request,
            object_id,
            "revoke",
            title="Revoke token",
            question=lambda token: (
                f"Revoke token {token}? Programs that use it are refused from now on."
            ),
            do=do,
            danger=True,
        )


@admin.register(LogEntry)
class LogEntryAdmin(ScopedAdmin):
    """Who changed which configuration; written by auditlog, which leaves secrets out."""

    policy = log_policy
    organization = ""  # the policy knows which rows each entry is about
    list_display = ("timestamp", "actor", "action", "content_type", "object_repr", "what")
    list_select_related = ("actor", "content_type")
    list_filter = (
        ("action", ChoicesDropdownFilter),
        ("actor", Among),
        ("timestamp", Between),
    )
    search_fields = ("object_repr",)
    ordering = ("-timestamp", "-id")
    readonly_fields = fields = (
        "timestamp",
        "actor",
        "action",
        "content_type",
        "object_repr",
        "before_and_after",
        "remote_addr",
    )

    @display(description="What")
    def what(self, entry: Any) -> str:
        """Name the fields that changed."""
        return ", ".join(field.replace("_", " ") for field, _, _ in changes_of(entry))

    @display(description="Before and after")
    def before_and_after(self, entry: Any) -> str:
        """Show each field with what it held before and holds since."""
        cell = '<td class="pr-4 align-top">{}</td>'
        head, arrow = '<th class="pr-4 text-left align-top">{}</th>', cell.format("→")
        row = f"<tr>{head}{cell}{arrow}{cell}</tr>"
        model = entry.content_type.model_class()
        told = [
            (field, *(named(model, field, value) for value in values))
            for field, *values in changes_of(entry)
        ]
        return format_html("<table>{}</table>", format_html_join("", row, told))


def named(model: type[Model], field: str, value: str) -> str:
    """Give the name of what a field refers to, which is logged by its key; else the value.

    What is no longer there stays a key.
    """
    try:
        found = model._meta.get_field(field)
    except FieldDoesNotExist:
        return value
    if not isinstance(found, ForeignKey) or not value.isdigit():
        return value
    row = found.related_model._base_manager.filter(pk=value).first()
    return value if row is None else str(row)


def changes_of(entry: Any) -> list[tuple[str, str, str]]:
    """Give each field that an entry tells of, with its value before and after."""
    model = entry.content_type.model_class()
    # Of what is new, auditlog also notes that nothing refers to it yet.
    referring = {relation.name for relation in model._meta.related_objects}
    found = []
    for field, change in sorted((entry.changes or {}).items()):
        if field in referring:
            continue
        if isinstance(change, dict):
            # Of a list: which ones came to it or left it.
            names = ", ".join(map(str, change.get("objects", ())))
            came = change.get("operation") == "add"
            found.append((field, "–" if came else names, names if came else "–"))
        else:
            before, after = ("–" if value in ("None", None, "") else str(value) for value in change)
            found.append((field, before, after))
    return [one for one in found if one[1] != one[2]]
