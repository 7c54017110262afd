"""The admin page on which roles on one site, target or pool are given to people and teams."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget

from ..models import User
from ..pages import add_refusal
from ..problems import Refused
from .admin import ScopedAdmin
from .grants import gives_roles_to, groups_for, name_of, roles_on, set_role

ROLES = (
    ("viewer", "Viewer: sees it, its jobs, runs and files"),
    ("editor", "Editor: runs and edits jobs, accepts changes"),
    ("maintainer", "Maintainer: settings, roles, agents and keys"),
    ("owner", "Owner: may also archive it"),
)


class GroupChoice(forms.ModelChoiceField):
    """A choice of teams, and of groups that belong to no organization."""

    def label_from_instance(self, obj: Group) -> str:
        return name_of(obj)


class RoleForm(forms.Form):
    """Who is to have which role. People are members: a role without a membership is nothing."""

    user = forms.ModelChoiceField(
        label="Person", queryset=User.objects.none(), required=False, widget=UnfoldAdminSelectWidget
    )
    group = GroupChoice(
        label="or team",
        queryset=Group.objects.none(),
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    role = forms.ChoiceField(label="Role", required=False, widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, on: Any, by: Any, roles: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by = by
        user, group, role = self.fields["user"], self.fields["group"], self.fields["role"]
        assert isinstance(user, forms.ModelChoiceField)
        assert isinstance(group, forms.ModelChoiceField)
        assert isinstance(role, forms.ChoiceField)
        user.queryset = User.objects.filter(memberships__organization=on.organization)
        groups = groups_for(on, by=by)
        group.queryset = groups
        if not groups.exists():
            del self.fields["group"]
        role.choices = [*roles, ("", "No role: take it away")]
        role.initial = roles[0][0]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        group = data.get("group")
        if bool(data.get("user")) == bool(group):
            raise forms.ValidationError("Choose one person or one team.")
        if group and data.get("role") and not gives_roles_to(group, by=self.by):
            raise forms.ValidationError(f"Superusers give {group} roles; you may take them away.")
        return data


class GrantingAdmin(ScopedAdmin):
    """Adds the page “People and roles” to what roles are granted on."""

    actions_detail: tuple[str, ...] = ("people_and_roles",)
    acts: ClassVar[dict[str, str]] = {"people_and_roles": "manage"}
    roles: ClassVar[tuple[tuple[str, str], ...]] = ROLES

    @action(description="People and roles", url_path="roles", icon="group")
    def people_and_roles(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show who has which role on this object; set or take away one."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        if not self.permits("people_and_roles", request, obj):
            raise PermissionDenied(f"Your role does not allow this on “{obj}”.")
        form = RoleForm(request.POST or None, on=obj, by=request.user, roles=self.roles)
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        if form.is_valid():
            who = form.cleaned_data["user"] or form.cleaned_data["group"]
            role = form.cleaned_data["role"]
            try:
                set_role(who, role or None, on=obj)
            except Refused as refusal:
                add_refusal(form, refusal)
            else:
                is_now = f"is {role} of" if role else "has no role any more on"
                messages.success(request, f"{name_of(who)} {is_now} {obj}.")
                return redirect(f"{page}_people_and_roles", obj.pk)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": f"People and roles: {obj}",
            "form": form,
            "given": [
                (
                    name_of(who),
                    who.pk,
                    "group" if isinstance(who, Group) else "user",
                    dict(self.roles).get(role, role),
                )
                for who, role in roles_on(obj)
            ],
            "back": reverse(f"{page}_change", args=[obj.pk]),
        }
        return TemplateResponse(request, "admin/roles.html", context)
