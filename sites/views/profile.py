"""The portal's pages about oneself: access tokens, log-ins, memberships."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from .. import access_tokens, second_factors, sessions
from ..forms.tokens import TokenForm
from ..models import AccessToken, Membership, User
from ..pages import add_refusal
from ..permissions import token_policy
from ..problems import Refused


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show who the person is and their access tokens; making one shows it in this answer alone.

    The token is drawn into the answer of the form itself and kept nowhere, not even for a redirect.
    """
    user = cast(User, request.user)
    form = TokenForm(request.POST if request.method == "POST" else None)
    made: AccessToken | None = None
    token = ""
    if request.method == "POST" and form.is_valid():
        try:
            made, token = access_tokens.issue(
                user,
                name=form.cleaned_data["name"],
                scope=form.cleaned_data["scope"],
                expires_at=form.expires_at(),
            )
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            form = TokenForm()
    memberships = Membership.objects.filter(user=user).select_related("organization")
    return render(
        request,
        "sites/profile.html",
        {
            "nav": "profile",
            "form": form,
            "made": made,
            "token": token,
            "tokens": _tokens(request).order_by("-created_at", "-id"),
            "now": timezone.now(),
            "places": sessions.places(user),
            "here": request.session.session_key,
            "second_factor": second_factors.is_on(user),
            "memberships": memberships.order_by("organization__name"),
        },
        status=422 if form.errors else 200,
    )


def _tokens(request: HttpRequest) -> Any:
    return token_policy.rows(request.user, "view", AccessToken.objects.filter(revoked_at=None))


@login_required
@require_http_methods(["GET", "POST"])
def token_revoke(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Ask before a token of the person is ended, then end it."""
    row = token_policy.get(request.user, "revoke", _tokens(request), public_id=public_id)
    if request.method == "GET":
        return render(request, "sites/token_revoke.html", {"nav": "profile", "row": row})
    access_tokens.revoke(row)
    messages.info(request, f"The token “{row}” is revoked.")
    return redirect("profile")


@login_required
@require_POST
def sessions_end(request: HttpRequest) -> HttpResponse:
    """End one of the person's log-ins, or all but this one."""
    user, chosen = cast(User, request.user), request.POST.get("session", "")
    others = [one for one in sessions.places(user) if one.key != request.session.session_key]
    ended = [one for one in others if chosen in ("others", str(one.pk))]
    sessions.end(user, ended)
    if ended:
        where = ", ".join(f"{one.device} at {one.address}" for one in ended)
        messages.info(request, f"Logged out: {where}.")
    return redirect("profile")
