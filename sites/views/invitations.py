"""The portal's pages about invitations: those that wait, asking somebody, and joining by a link."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from allauth.account.utils import perform_login
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from .. import invitations
from ..forms.accounts import SignUpForm
from ..forms.invitations import InvitationForm
from ..models import Invitation, User
from ..pages import ON_PAGE, PortalRequest, add_refusal, within_organization
from ..permissions import invitation_policy
from ..problems import Refused
from .members import managed


@within_organization
@require_GET
def invitation_list(request: PortalRequest) -> HttpResponse:
    """List who was invited to the current organization and has not joined yet."""
    managed(request)
    rows = invitations.waiting(request.organization).select_related("invited_by")
    rows = rows.prefetch_related("site_roles__site")
    return render(
        request,
        "sites/invitation_list.html",
        {
            "nav": "members",
            "tab": "invitations",
            "page": Paginator(rows, ON_PAGE).get_page(request.GET.get("page")),
            "now": timezone.now(),
        },
    )


@within_organization
@require_http_methods(["GET", "POST"])
def invitation_add(request: PortalRequest) -> HttpResponse:
    """Ask somebody by mail to join the current organization."""
    managed(request)
    form = InvitationForm(
        request.POST if request.method == "POST" else None, organization=request.organization
    )
    if request.method == "POST" and form.is_valid():
        try:
            invitation = invitations.invite(
                request.organization,
                email=form.cleaned_data["email"],
                role=form.cleaned_data["role"],
                by=request.user,
                site_roles=form.site_roles(),
            )
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            _send(request, invitation)
            return redirect("invitation-list")
    return render(
        request,
        "sites/invitation_add.html",
        {"nav": "members", "form": form, "days": settings.INVITATION_DAYS},
        status=422 if form.errors else 200,
    )


def _send(request: PortalRequest, invitation: Invitation) -> None:
    try:
        invitations.send(invitation)
    except Refused as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, f"An invitation is on its way to {invitation.email}.")


def _invitation(request: PortalRequest, public_id: UUID) -> Invitation:
    rows = Invitation.objects.filter(organization=request.organization)
    found: Invitation = invitation_policy.get(
        request.user, "manage", rows.select_related("organization"), public_id=public_id
    )
    return found


@within_organization
@require_POST
def invitation_send(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Send an invitation again, with another link."""
    _send(request, _invitation(request, public_id))
    return redirect("invitation-list")


@within_organization
@require_http_methods(["GET", "POST"])
def invitation_revoke(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Ask before an invitation is taken back."""
    invitation = _invitation(request, public_id)
    if request.method == "GET":
        context = {"nav": "members", "invitation": invitation}
        return render(request, "sites/invitation_revoke.html", context)
    try:
        invitations.revoke(invitation)
    except Refused as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.info(request, f"The invitation of {invitation.email} is revoked.")
    return redirect("invitation-list")


@never_cache
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Let whoever opens the link of an invitation join: with a new account, or with their own.

    Opening it changes nothing, for programs that read mail do so too. The page is the same whether
    there is an account for the address or not.
    """
    invitation = invitations.found(token)
    if invitation is None:
        user = request.user
        if user.is_authenticated and invitations.was_taken_by(token, user):
            return redirect("home")
        return render(request, "account/link_over.html", status=404)
    if request.user.is_authenticated:
        return _join_as(request, token, invitation)
    form = SignUpForm(request.POST if request.method == "POST" else None)
    refused = ""
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            user = invitations.sign_up(
                token,
                first_name=data["first_name"],
                last_name=data["last_name"],
                password=data["password"],
            )
        except Refused as refusal:
            refused = "" if refusal.errors else refusal.detail
            for name, texts in (refusal.errors or {}).items():
                form.add_error(name, texts)
        else:
            perform_login(request, user)
            return _welcome(request, invitation)
    return render(
        request,
        "account/join.html",
        {
            "invitation": invitation,
            "form": form,
            "refused": refused,
            "login": f"{reverse('account_login')}?next={request.path}",
        },
        status=422 if form.errors or refused else 200,
    )


def _join_as(request: HttpRequest, token: str, invitation: Invitation) -> HttpResponse:
    """Let a person who is logged in join with one click, where the mail went to their address."""
    user, refused = cast(User, request.user), ""
    if request.method == "POST":
        try:
            invitations.join(token, user)
        except Refused as refusal:
            refused = refusal.detail
        else:
            return _welcome(request, invitation)
    return render(
        request,
        "account/join_as.html",
        {
            "invitation": invitation,
            "invited": invitations.invited(invitation, user),
            "refused": refused,
        },
        status=422 if refused else 200,
    )


def _welcome(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    request.session["organization"] = invitation.organization_id
    messages.success(request, f"Welcome to {invitation.organization}.")
    return redirect("home")
