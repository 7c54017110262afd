"""What stands around the content of every page: who is asking, where, in which theme."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.utils.functional import SimpleLazyObject
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST, require_safe

from .. import ticks
from ..access import grants_of
from ..models import Organization, Role
from ..pages import asked_by_page, back
from ..permissions import organization_policy

THEMES = ("light", "dark")


def frame(request: HttpRequest) -> dict[str, Any]:
    """Give every template the frame around its page (a context processor).

    ``base`` is the template that a page extends: without the frame when portal.js or htmx fetches
    the page again to swap a part of it. ``amiss`` is what administrators are told on every page.
    """
    return {
        "base": "bare.html" if asked_by_page(request) else "base.html",
        "frame": SimpleLazyObject(lambda: _frame(request)),
        "amiss": ticks.amiss(),
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


@require_safe
@cache_control(public=True, max_age=86_400)
def favicon(request: HttpRequest) -> HttpResponse:
    """Lead to the logo whoever asks for an icon where browsers look without being told."""
    return redirect(static("logo.svg"))


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, so that the next page is painted in it at once."""
    answer = back(request, "home")
    choice = request.POST.get("theme", "")
    if choice in THEMES:
        year = 365 * 24 * 3600
        secure = request.is_secure()
        answer.set_cookie("theme", choice, max_age=year, samesite="Lax", secure=secure)
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
