"""The portal's pages about members: the list, one member's role, and removing one."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from ..access import roles_of
from ..filters import MemberFilter, person_name
from ..forms.members import RoleForm, SuccessorForm
from ..members import held_by, remove_member, set_member_role
from ..models import Membership, Role
from ..pages import ON_PAGE, PortalRequest, add_refusal, within_organization
from ..permissions import membership_policy, organization_policy
from ..presence import with_tokens_used
from ..problems import Refused
from ..teams import teams_of, with_teams


def managed(request: PortalRequest) -> None:
    """Let those on who manage the people of the current organization."""
    if not organization_policy.allows(request.user, "manage", request.organization):
        raise PermissionDenied(
            f"The people of {request.organization} are managed by its administrators."
        )


def _members(request: PortalRequest) -> QuerySet[Membership]:
    members = Membership.objects.filter(organization=request.organization)
    return with_tokens_used(with_teams(members.select_related("organization", "user")))


def _member(request: PortalRequest, public_id: UUID) -> Membership:
    found: Membership = membership_policy.get(
        request.user, "manage", _members(request), public_id=public_id
    )
    return found


@within_organization
@require_GET
def member_list(request: PortalRequest) -> HttpResponse:
    """List the people of the current organization with role and when they were last seen."""
    managed(request)
    filters = MemberFilter(request.GET, queryset=_members(request), request=request)
    rows = filters.qs if filters.is_valid() else Membership.objects.none()
    rows = rows.order_by(person_name("user"), "pk")
    page = Paginator(rows, ON_PAGE).get_page(request.GET.get("page"))
    roles = [value for value in request.GET.getlist("role") if value]
    return render(
        request,
        "sites/member_list.html",
        {
            "nav": "members",
            "page": page,
            "teams": {member.pk: teams_of(member) for member in page},
            "search": request.GET.get("search", "").strip(),
            "roles": [(value, label, value in roles) for value, label in Role.choices],
            "narrowed": [str(label) for value, label in Role.choices if value in roles],
        },
    )


@within_organization
@require_http_methods(["GET", "POST"])
def member_detail(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Show what one member may do in the organization, and give them another role."""
    member = _member(request, public_id)
    form = RoleForm(
        request.POST if request.method == "POST" else None, initial={"role": member.role}
    )
    if request.method == "POST" and form.is_valid():
        try:
            changed = set_member_role(member, form.cleaned_data["role"])
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            label = changed.get_role_display().lower()
            messages.success(request, f"{member.user}: {label} of {member.organization} now.")
            return _onward(request, member)
    return render(
        request,
        "sites/member_detail.html",
        {
            "nav": "members",
            "member": member,
            "form": form,
            "given": roles_of(member.user, member.organization),
            "owned": held_by(member),
            "teams": teams_of(member),
        },
        status=422 if form.errors else 200,
    )


def _onward(request: PortalRequest, member: Membership) -> HttpResponse:
    """Go back to the list, unless one has just taken that from oneself."""
    return redirect("home" if member.user_id == request.user.pk else "member-list")


@within_organization
@require_http_methods(["GET", "POST"])
def member_remove(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Ask before a member is removed: say what is lost, and who takes over their jobs."""
    member = _member(request, public_id)
    owned = held_by(member)
    form = SuccessorForm(
        request.POST if request.method == "POST" else None,
        members=_members(request).exclude(pk=member.pk).filter(user__is_active=True),
        needed=bool(owned),
        by=request.user,
    )
    if request.method == "POST" and form.is_valid():
        try:
            remove_member(member, successor=form.cleaned_data.get("successor"))
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            messages.info(request, f"{member.user} does not belong to {member.organization} now.")
            return _onward(request, member)
    return render(
        request,
        "sites/member_remove.html",
        {
            "nav": "members",
            "member": member,
            "form": form,
            "given": roles_of(member.user, member.organization),
            "owned": owned,
            "teams": teams_of(member),
        },
        status=422 if form.errors else 200,
    )
