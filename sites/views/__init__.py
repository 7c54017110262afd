"""The portal's pages about places, and what stands around the content of every page."""

from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from .. import access_tokens, second_factors, sessions
from ..access import grants_of
from ..forms import TokenForm
from ..models import AccessToken, Membership, Organization, Role, Site, Target, User
from ..pages import PortalRequest, within_organization
from ..permissions import organization_policy, site_policy, target_policy, token_policy
from ..problems import Refused

THEMES = ("light", "dark")


@require_safe
@cache_control(public=True, max_age=86_400)
def favicon(request: HttpRequest) -> HttpResponse:
    """Lead to the logo whoever asks for an icon where browsers look without being told."""
    return redirect(static("logo.svg"))


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every template the frame around its page (a context processor).

    ``base`` is the template that a page extends: without the frame when portal.js or htmx fetches
    the page again to swap a part of it.
    """
    swapped = request.headers.get("HX-Request") == "true"
    return {
        "base": "bare.html" if swapped else "base.html",
        "frame": SimpleLazyObject(lambda: _frame(request)),
    }


def _frame(request: HttpRequest) -> dict[str, Any]:
    theme = request.COOKIES.get("theme", "")
    about: dict[str, Any] = {
        "theme": theme if theme in THEMES else "",
        "single_sign_on": settings.OIDC_NAME if settings.OIDC_URL else "",
    }
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return about
    organization = getattr(request, "organization", None)
    grants = grants_of(user)
    role = grants.roles.get(organization.pk) if organization else None
    others = Organization.objects.none()
    if grants.superuser or len(grants.roles) > 1:
        others = organization_policy.rows(user, "view", Organization.objects.order_by("name"))
        if organization:
            others = others.exclude(pk=organization.pk)
    return about | {
        "organization": organization,
        "role": Role(role).label if role else "Superuser",
        "others": list(others[:50]),
        # Accept or reject what backups found, at one place at least.
        "may_decide": role == Role.ADMINISTRATOR
        or any(grants.objects(kind, "operate") for kind in ("site", "target")),
        # Members, invitations and teams of the current organization.
        "may_manage": role == Role.ADMINISTRATOR or grants.superuser,
        "may_admin": grants.superuser or bool(grants.organizations(Role.ADMINISTRATOR)),
    }


def back(request: HttpRequest, otherwise: str) -> HttpResponse:
    """Send a person back to where the form stood, never to another host."""
    to = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(to, {request.get_host()}, require_https=request.is_secure()):
        return redirect(to)
    return redirect(otherwise)


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, so that the next page is painted in it at once."""
    answer = back(request, "home")
    choice = request.POST.get("theme", "")
    if choice in THEMES:
        answer.set_cookie("theme", choice, max_age=365 * 24 * 3600, samesite="Lax")
    else:
        answer.delete_cookie("theme", samesite="Lax")
    return answer


@login_required
@require_POST
def organization(request: HttpRequest) -> HttpResponse:
    """Make another of the person's organizations the current one."""
    try:
        wanted = UUID(request.POST.get("organization", ""))
    except ValueError:
        raise Http404("There is no such organization.") from None
    chosen = organization_policy.get(request.user, "view", public_id=wanted)
    request.session["organization"] = chosen.pk
    messages.info(request, f"You are now in {chosen.name}.")
    return redirect("home")


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
            form.add_error(None, refusal.detail)
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


@within_organization
def sites(request: PortalRequest) -> HttpResponse:
    """List the sites of the current organization with the targets that stand there."""
    found: dict[int, tuple[Site, list[Target]]] = {
        site.pk: (site, [])
        for site in site_policy.rows(
            request.user,
            "view",
            request.organization.sites.filter(archived_at__isnull=True).order_by("name"),
        )
    }
    targets = target_policy.rows(
        request.user, "view", Target.objects.filter(site__in=list(found), archived_at__isnull=True)
    ).select_related("accepted_snapshot")
    for target in targets.order_by("name"):
        found[target.site_id][1].append(target)
    shown = [target.pk for _, here in found.values() for target in here]
    return render(
        request,
        "sites/site_list.html",
        {
            "nav": "sites",
            "sites": list(found.values()),
            "permitted": target_policy.permitted(request.user, ["inspect"], shown),
        },
    )
