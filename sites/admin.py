"""The admin of organizations, people, places and of what happened there."""

from typing import Any

from auditlog import get_logentry_model
from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.template.defaultfilters import filesizeformat
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from . import access_tokens, quota
from . import credential_admin as credential_admin  # registers itself
from .access import Policy, grants_of, superuser
from .access.admin import Among, Between, ScopedAdmin, ScopedForm, ScopedInline, person
from .access.granting import GrantingAdmin
from .archiving import archive_site, archive_target
from .json_field import JSONField
from .masking import HIDDEN, masked
from .members import account_changed, add_member, remove_member, set_member_role
from .models import AccessToken, Event, Membership, Organization, Site, Snapshot, Target, User
from .permissions import (
    event_policy,
    group_policy,
    membership_policy,
    organization_policy,
    site_policy,
    snapshot_policy,
    target_policy,
    token_policy,
    user_policy,
)
from .places import check_target, save_site, save_target
from .problems import Refused

# Other apps' own pages know nothing of organizations.
for stock in list(admin.site._registry):
    if stock._meta.app_label in ("auth", "account", "auditlog", "guardian"):
        admin.site.unregister(stock)

LogEntry = get_logentry_model()


class SuperuserAdds(ScopedAdmin):
    """For what has no parent: made by superusers alone."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return grants_of(request.user).superuser


class MembersInline(ScopedInline):
    model = Membership
    fields = ("user", "role", "created_at")
    readonly_fields = fields
    verbose_name_plural = "members"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "organization")


@admin.register(Organization)
class OrganizationAdmin(SuperuserAdds):
    policy = organization_policy
    organization = "pk"
    may_change = "manage"
    list_display = ("name", "created_at")
    search_fields = ("name",)
    fields = ("name", "storage", "storage_limit_mb", "public_id", "created_at")
    readonly_fields = ("storage", "public_id", "created_at")
    inlines = (MembersInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = tuple(super().get_readonly_fields(request, obj))
        # What a disk holds is shared out by who runs the portal.
        return shown if grants_of(request.user).superuser else (*shown, "storage_limit_mb")

    @display(description="File storage")
    def storage(self, organization: Organization) -> str:
        used, limit = quota.used_by(organization), quota.limit_of(organization)
        return f"{filesizeformat(used)} of {filesizeformat(limit) if limit else 'no limit'}"


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    policy = membership_policy
    may_change = may_delete = "manage"
    may_add = ("organization", "manage")
    fixed = ("organization", "user")
    list_display = ("user", "organization", "role", "created_at")
    list_select_related = ("user", "organization")
    list_filter = (("organization", Among), ("role", ChoicesDropdownFilter))
    search_fields = ("user__username", "user__first_name", "user__last_name", "user__email")
    fields = ("organization", "user", "role", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("user",)

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        if change:
            set_member_role(Membership.objects.get(pk=obj.pk), obj.role)
        else:
            obj.pk = add_member(obj.organization, obj.user, obj.role).pk

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        remove_member(Membership.objects.get(pk=obj.pk))


@admin.register(User)
class UserAdmin(StockUserAdmin, SuperuserAdds):  # type: ignore[misc]
    """Administrators look up the people of their organizations; accounts are the superuser's."""

    policy = user_policy
    organization = ""  # people belong to several; the policy says whom one may know
    may_change = "manage"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "name", "email", "is_active", "last_login")
    list_filter = ("is_active",)
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("public_id", "last_login", "date_joined")
    add_fieldsets = ((None, {"fields": ("username", "email", "password1", "password2")}),)
    _person = (None, {"fields": ("username", "first_name", "last_name", "email", "public_id")})
    _account = (
        "Account",
        {
            "fields": (
                "password",
                "is_active",
                "is_superuser",
                "groups",
                "last_login",
                "date_joined",
            )
        },
    )
    # Those of the stock page that know nothing of the policies.
    get_queryset = ScopedAdmin.get_queryset
    lookup_allowed = ScopedAdmin.lookup_allowed
    get_form = StockUserAdmin.get_form  # type: ignore[assignment]

    @display(description="Name", ordering="last_name")
    def name(self, user: User) -> str:
        return user.get_full_name()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        account = (self._account,) if grants_of(request.user).superuser else ()
        return (self._person, *account)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if {"is_active", "is_superuser", "groups"} & set(form.changed_data):
            account_changed(obj)


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, SuperuserAdds):  # type: ignore[misc]
    """Groups are of no organization: a role given to one reaches members of several."""

    policy = group_policy
    organization = ""
    may_change = may_delete = "manage"
    fields = ("name",)
    get_queryset = ScopedAdmin.get_queryset
    formfield_for_manytomany = ScopedAdmin.formfield_for_manytomany  # type: ignore[assignment]


@admin.register(Site)
class SiteAdmin(GrantingAdmin):
    policy = site_policy
    may_change = "manage"
    may_add = ("organization", "create_site")
    fixed = ("organization", "time_zone")
    acts = {**GrantingAdmin.acts, "archive": "delete"}
    actions_detail = ("people_and_roles", "archive")
    list_display = ("name", "organization", "time_zone", "archived_at")
    list_select_related = ("organization",)
    list_filter = (("organization", Among), ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("name",)
    fields = ("organization", "name", "time_zone", "public_id", "created_at", "archived_at")
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
            for name, texts in (refusal.errors or {"": [refusal.detail]}).items():
                for text in texts:
                    self.add_error(name if name in self.fields else None, text)
        return data


@admin.register(Target)
class TargetAdmin(GrantingAdmin):
    policy = target_policy
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
        (None, {"fields": ("site", "name", "kind", "address", "credential", "settings")}),
    )
    readonly_fields = ("organization", "public_id", "accepted_snapshot", "created_by", "created_at")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave the settings out where they would be printed instead of masked in the form."""
        if obj is None:
            return self.add_fieldsets
        may = self.has_change_permission(request, obj)
        settings = ("settings", "clear_job_secrets") if may else ()
        about = ("site", "name", "kind", "address", "credential", *settings)
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
