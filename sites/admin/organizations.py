"""The admin of organizations and of the people in them."""

from typing import Any

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

from .. import invitations, quota, second_factors
from ..access import grants_of
from ..access.admin import Among, ScopedAdmin, ScopedInline
from ..audit import note
from ..members import (
    account_changed,
    add_member,
    keep_a_superuser,
    keep_administrators,
    remove_member,
    set_member_role,
)
from ..models import Invitation, Membership, Organization, Team, User
from ..permissions import (
    group_policy,
    invitation_policy,
    membership_policy,
    organization_policy,
    team_policy,
    user_policy,
)
from ..teams import add_team, delete_team, people_of, rename_team


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
    fields = (
        "name", "storage", "storage_limit_mb", "keep_runs_days", "keep_logs_days",
        "keep_files_days", "public_id", "created_at",
    )  # fmt: skip
    readonly_fields = ("storage", "public_id", "created_at")
    inlines = (MembersInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = tuple(super().get_readonly_fields(request, obj))
        # What a disk holds is shared out by who runs the portal.
        return shown if grants_of(request.user).superuser else (*shown, "storage_limit_mb")

    @display(description="Kept")
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

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        if change:
            set_member_role(Membership.objects.get(pk=obj.pk), obj.role)
        else:
            obj.pk = add_member(obj.organization, obj.user, obj.role).pk

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        remove_member(Membership.objects.get(pk=obj.pk))


@admin.register(Invitation)
class InvitationAdmin(ScopedAdmin):
    """Who was asked to join; invitations are made in the portal, which sends their mail."""

    policy = invitation_policy
    acts = {"revoke": "manage"}
    actions_detail = ("revoke",)
    list_display = ("email", "organization", "role", "sent_at", "expires_at", "accepted_at")
    list_select_related = ("organization",)
    list_filter = (
        ("organization", Among),
        ("role", ChoicesDropdownFilter),
        ("accepted_at", admin.EmptyFieldListFilter),
        ("revoked_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("email",)
    readonly_fields = fields = (
        "organization",
        "email",
        "role",
        "sites",
        "invited_by",
        "public_id",
        "created_at",
        "sent_at",
        "expires_at",
        "accepted_at",
        "accepted_by",
        "revoked_at",
    )

    @display(description="Roles on sites")
    def sites(self, invitation: Invitation) -> str:
        return ", ".join(str(given) for given in invitation.site_roles.select_related("site"))

    def offers(self, name: str, obj: Invitation) -> bool:
        return obj.accepted_at is None and obj.revoked_at is None

    @action(description="Revoke", icon="mail_off", variant=ActionVariant.DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """End the invitation; its link works no more."""

        def do(invitation: Invitation) -> str:
            invitations.revoke(invitation)
            return f"The invitation of {invitation.email} is revoked."

        return self.ask(
            request,
            object_id,
            "revoke",
            title="Revoke invitation",
            question=lambda invitation: (
                f"Revoke the invitation of {invitation.email}? Its link works no more."
            ),
            do=do,
            danger=True,
        )


@admin.register(Team)
class TeamAdmin(ScopedAdmin):
    """Teams by name; who is in one is set in the portal, and roles on the page of each place."""

    policy = team_policy
    may_change = may_delete = "manage"
    may_add = ("organization", "manage")
    fixed = ("organization",)
    list_display = ("name", "organization", "created_at")
    list_select_related = ("organization",)
    list_filter = (("organization", Among),)
    search_fields = ("name",)
    fields = ("organization", "name", "people", "public_id", "created_at")
    readonly_fields = ("people", "public_id", "created_at")

    @display(description="People")
    def people(self, team: Team) -> str:
        return ", ".join(map(str, people_of(team))) if team.pk else ""

    def save_model(self, request: HttpRequest, obj: Team, form: Any, change: bool) -> None:
        if change:
            rename_team(obj, obj.name)
        else:
            obj.pk = add_team(obj.organization, obj.name).pk

    def delete_model(self, request: HttpRequest, obj: Team) -> None:
        delete_team(obj)


@admin.register(User)
class UserAdmin(StockUserAdmin, SuperuserAdds):  # type: ignore[misc]
    """Administrators look up the people of their organizations; accounts are the superuser's."""

    policy = user_policy
    organization = ""  # people belong to several; the policy says whom one may know
    may_change = "manage"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    acts = {"remove_second_factor": "manage"}
    actions_detail = ("remove_second_factor",)
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
    # The audit log does not follow accounts by itself: each log-in changes one.
    _noted = frozenset(
        {"username", "first_name", "last_name", "email", "is_active", "is_superuser"}
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

    def choices_for(self, field: Any, request: HttpRequest, *, every: bool = False) -> Any:
        """Offer the groups that are no teams: who is in a team, its page says and its rules."""
        rows = super().choices_for(field, request, every=every)
        return rows.filter(team=None) if field.name == "groups" else rows

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Keep the person in their teams, which the form does not show."""
        user: User = form.instance
        before = {group.name: group for group in user.groups.all()} if change else {}
        super().save_related(request, form, formsets, change)
        user.groups.add(*(group for group in before.values() if hasattr(group, "team")))
        after = {group.name for group in user.groups.all()}
        for name in sorted(before.keys() ^ after):
            was, now = ("yes", "no") if name in before else ("no", "yes")
            note(user, f"membership of group {name}", was, now)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change and not obj.is_active and "is_active" in form.changed_data:
            keep_administrators(obj)
        raised = obj.is_active and obj.is_superuser
        if change and not raised and {"is_active", "is_superuser"} & set(form.changed_data):
            keep_a_superuser(obj)
        super().save_model(request, obj, form, change)
        if not change:
            note(obj, "account", "", "made")
        for field in self._noted & set(form.changed_data) if change else ():
            note(obj, field, _words(form.initial[field]), _words(form.cleaned_data[field]))
        if {"is_active", "is_superuser", "groups"} & set(form.changed_data):
            account_changed(obj)

    def offers(self, name: str, obj: User) -> bool:
        return second_factors.is_on(obj)

    @action(description="Remove second factor", icon="lock_reset", variant=ActionVariant.DANGER)
    def remove_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Let a person in again who has lost their phone and their recovery codes."""

        def do(user: User) -> str:
            second_factors.remove(user)
            return f"{user} logs in with the password alone now."

        return self.ask(
            request,
            object_id,
            "remove_second_factor",
            title="Remove second factor",
            question=lambda user: (
                f"Remove the second factor of {user}? Their password alone lets them in, until"
                " they turn it on again. Make sure that it is they who ask."
            ),
            do=do,
            danger=True,
        )


def _words(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value))


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, SuperuserAdds):  # type: ignore[misc]
    """Groups are of no organization: a role given to one reaches members of several.

    Those of teams are among them, for superusers to see who is in which.
    """

    policy = group_policy
    organization = ""
    may_change = may_delete = "manage"
    fields = ("name",)
    get_queryset = ScopedAdmin.get_queryset
    formfield_for_manytomany = ScopedAdmin.formfield_for_manytomany  # type: ignore[assignment]
