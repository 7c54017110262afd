"""Which of a person's organizations every page concerns."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject

from .models import Organization
from .permissions import organization_policy


def current_organization(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give the request `organization`: the one chosen in the switcher, else the person's first."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.organization = SimpleLazyObject(lambda: chosen(request))  # type: ignore[attr-defined]
        return get_response(request)

    return middleware


def chosen(request: HttpRequest) -> Organization | None:
    """Find the current organization; None for someone who belongs to none."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    seen = organization_policy.rows(user, "view", Organization.objects.order_by("name", "id"))
    wanted = request.session.get("organization")
    found = seen.filter(pk=wanted).first() if wanted else None
    return found or seen.first()
