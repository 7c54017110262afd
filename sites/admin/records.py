"""The admin of what happened: Events and the audit log; and of one's own access tokens."""

from typing import Any

from auditlog import get_logentry_model
from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action
from unfold.enums import ActionVariant

from .. import access_tokens
from ..access import Policy, superuser
from ..access.admin import Between, ScopedAdmin
from ..models import AccessToken, Event
from ..permissions import (
    event_policy,
    token_policy,
)

LogEntry = get_logentry_model()


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

    policy = Policy(LogEntry, {"view": [superuser]})
    organization = ""
    list_display = ("timestamp", "actor", "action", "content_type", "object_repr")
    list_select_related = ("actor", "content_type")
    list_filter = (("action", ChoicesDropdownFilter), ("timestamp", Between))
    ordering = ("-timestamp", "-id")
    readonly_fields = fields = (
        "timestamp",
        "actor",
        "action",
        "content_type",
        "object_repr",
        "changes",
        "remote_addr",
    )
