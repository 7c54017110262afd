"""The admin of credentials: the secret goes in by a form that never shows one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget

from .. import credentials
from ..access.admin import Among, ScopedAdmin, ScopedForm, person
from ..json_field import JSONField
from ..models import Credential
from ..permissions import credential_policy
from ..problems import Refused
from ..unshown import Unshown

_KEEP = "Empty keeps what is stored."


class _Unshown(Unshown, UnfoldAdminTextareaWidget):
    pass


class CredentialForm(ScopedForm):
    password = forms.CharField(
        required=False,
        strip=False,
        max_length=credentials.LONGEST,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=f"For the kind Password. {_KEEP}",
    )
    private_key = forms.CharField(
        required=False,
        strip=False,
        max_length=credentials.LONGEST,
        widget=_Unshown(attrs={"rows": 4, "autocomplete": "off"}),
        help_text=f"For the kind Private key, as text. {_KEEP}",
    )
    passphrase = forms.CharField(
        required=False,
        strip=False,
        max_length=credentials.LONGEST,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Of the private key, where it has one.",
    )
    headers = JSONField(
        required=False,
        widget=_Unshown(attrs={"rows": 3, "autocomplete": "off"}),
        help_text=f'For the kind HTTP headers: {{"Authorization": "…"}}. {_KEEP}',
    )

    def secret(self) -> dict[str, Any] | None:
        """Give what was written as a secret; None where nothing was, so that the old one stays."""
        names = ("password", "private_key", "passphrase", "headers")
        return credentials.written({name: self.cleaned_data.get(name) for name in names})

    def clean(self) -> dict[str, Any]:
        """Say beside the fields what the rule refuses of the secret."""
        data = super().clean() or {}
        kind = data.get("kind") or self.instance.kind
        secret = self.secret()
        if secret is not None or self.instance.pk is None:
            try:
                credentials.check(kind, secret or {})
            except Refused as refusal:
                errors = refusal.errors or {}
                self.take({name.removeprefix("secret."): errors[name] for name in errors})
        return data


@admin.register(Credential)
class CredentialAdmin(ScopedAdmin):
    """Who may manage credentials gives, replaces and archives them here; nobody reads a secret."""

    policy = credential_policy
    form = CredentialForm
    may_change = "manage"
    may_add = ("organization", "manage")
    choices = {"site": "manage"}
    fixed = ("organization", "site", "kind")
    acts = {"archive": "manage"}
    actions_detail = ("archive",)
    list_display = ("name", "kind", "username", "site", "organization", "changed_at", "changed_by")
    list_select_related = ("site", "organization", "changed_by")
    list_filter = (
        ("organization", Among),
        ("site", Among),
        ("kind", ChoicesDropdownFilter),
        ("archived_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name", "username")
    _secret = ("The secret, shown to nobody", {"fields": (
        "password", "private_key", "passphrase", "headers",
    )})  # fmt: skip
    readonly_fields = (
        "public_id",
        "changed_by",
        "changed_at",
        "created_by",
        "created_at",
        "archived_at",
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave the secret's fields out where nothing can be written."""
        names = (None, {"fields": ("organization", "site", "name", "kind", "username")})
        if obj is None:
            return (names, self._secret)
        secret = (self._secret,) if self.has_change_permission(request, obj) else ()
        return (names, *secret, ("About", {"fields": self.readonly_fields}))

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Credential]:
        return super().get_queryset(request).defer("sealed")

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        secret = form.secret()
        if change:
            columns = {
                n: v for n, v in self.changes(obj, form).items() if n in ("name", "username")
            }
            if columns or secret is not None:
                credentials.change(obj, by=person(request), secret=secret, **columns)
            return
        credentials.add(obj, secret or {}, by=person(request))

    @action(description="Archive", icon="archive", variant=ActionVariant.DANGER)
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Put the credential away; it is sent no more."""

        def do(credential: Credential) -> str:
            credentials.archive(credential)
            return f"Credential {credential} is archived."

        return self.ask(
            request,
            object_id,
            "archive",
            title="Archive credential",
            question=lambda credential: (
                f"Archive credential {credential} for good? No run is given it from now on."
            ),
            do=do,
            danger=True,
        )
