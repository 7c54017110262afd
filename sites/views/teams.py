"""The portal's pages about teams: the list, and one with its people and its roles."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from .. import teams
from ..access import roles_of, set_role
from ..forms.teams import NameForm, TeamMemberForm, TeamRoleForm
from ..models import Membership, Team
from ..pages import ON_PAGE, PortalRequest, add_refusal, within_organization
from ..permissions import membership_policy, team_policy
from ..problems import Refused
from .members import managed


@within_organization
@require_http_methods(["GET", "POST"])
def team_list(request: PortalRequest) -> HttpResponse:
    """List the teams of the current organization; make one by its name."""
    managed(request)
    form = NameForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            team = teams.add_team(request.organization, form.cleaned_data["name"])
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            return redirect("team-detail", team.public_id)
    rows = Team.objects.filter(organization=request.organization)
    rows = rows.annotate(people=Count("group__user")).order_by("name", "pk")
    return render(
        request,
        "sites/team_list.html",
        {
            "nav": "members",
            "tab": "teams",
            "form": form,
            "page": Paginator(rows, ON_PAGE).get_page(request.GET.get("page")),
        },
        status=422 if form.errors else 200,
    )


def _team(request: PortalRequest, public_id: UUID) -> Team:
    rows = Team.objects.filter(organization=request.organization)
    found: Team = team_policy.get(
        request.user, "manage", rows.select_related("organization", "group"), public_id=public_id
    )
    return found


def _page(request: PortalRequest, team: Team, **filled: Form) -> HttpResponse:
    """Draw one team with its three forms, of which one may have been filled in wrongly."""
    members = Membership.objects.filter(organization=team.organization)
    forms: dict[str, Any] = {
        "renaming": NameForm(initial={"name": team.name}),
        "joining": TeamMemberForm(team=team),
        "granting": TeamRoleForm(team=team),
    }
    people = members.filter(user__groups=team.group_id).select_related("user")
    return render(
        request,
        "sites/team_detail.html",
        {
            "nav": "members",
            "team": team,
            "people": sorted(people, key=lambda one: str(one.user).casefold()),
            "given": roles_of(team.group, team.organization),
            **forms,
            **filled,
        },
        status=422 if filled else 200,
    )


@within_organization
@require_http_methods(["GET", "POST"])
def team_detail(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Show one team, and give it another name."""
    team = _team(request, public_id)
    if request.method == "GET":
        return _page(request, team)
    form = NameForm(request.POST)
    if form.is_valid():
        try:
            teams.rename_team(team, form.cleaned_data["name"])
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            return redirect("team-detail", team.public_id)
    return _page(request, team, renaming=form)


@within_organization
@require_POST
def team_join(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Put a member into a team."""
    team = _team(request, public_id)
    form = TeamMemberForm(request.POST, team=team)
    if not form.is_valid():
        return _page(request, team, joining=form)
    try:
        teams.add_to_team(team, form.cleaned_data["member"])
    except Refused as refusal:
        messages.error(request, refusal.detail)
    return redirect("team-detail", team.public_id)


@within_organization
@require_POST
def team_leave(request: PortalRequest, public_id: UUID, member_id: UUID) -> HttpResponse:
    """Take a member out of a team."""
    team = _team(request, public_id)
    members = Membership.objects.filter(organization=team.organization).select_related("user")
    member = membership_policy.get(request.user, "manage", members, public_id=member_id)
    teams.take_from_team(team, member)
    messages.info(request, f"{member.user} is not in {team} any more.")
    return redirect("team-detail", team.public_id)


@within_organization
@require_POST
def team_role(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Give a team a role on a site, target or pool, or take it away."""
    team = _team(request, public_id)
    form = TeamRoleForm(request.POST, team=team)
    if form.is_valid():
        try:
            set_role(team.group, form.cleaned_data["role"] or None, on=form.cleaned_data["place"])
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            return redirect("team-detail", team.public_id)
    return _page(request, team, granting=form)


@within_organization
@require_http_methods(["GET", "POST"])
def team_delete(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Ask before a team is deleted with its roles."""
    team = _team(request, public_id)
    if request.method == "GET":
        context = {
            "nav": "members",
            "team": team,
            "people": teams.people_of(team),
            "given": roles_of(team.group, team.organization),
        }
        return render(request, "sites/team_delete.html", context)
    teams.delete_team(team)
    messages.info(request, f"The team “{team}” is deleted.")
    return redirect("team-list")
