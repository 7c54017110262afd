"""From which address a request comes, which of a person's organizations it concerns, that the
person was seen, and what a page says when the file storage is away."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.functional import SimpleLazyObject

from . import presence
from .models import Organization, User
from .pages import asked_by_page
from .permissions import organization_policy
from .storage import StorageUnavailable


def client_of(forwarded: str, heard_from: str) -> str:
    """Give the address of the client, from `X-Forwarded-For` and from whom the request was heard.

    Each of the `TRUSTED_PROXIES` adds to the header whom it heard from, so the client's is that
    many from the end; what stands before it is what the client says.
    """
    if forwarded and settings.TRUSTED_PROXIES > 0:
        return _address(forwarded.split(",")[-settings.TRUSTED_PROXIES :][0]) or heard_from
    return heard_from


def client_address(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Make `REMOTE_ADDR` the client's address, for all that comes after: limits, records, logs.

    The header of the proxies ends here, so that nobody else reads another entry of it.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        forwarded = request.META.pop("HTTP_X_FORWARDED_FOR", "")
        if said := client_of(forwarded, request.META.get("REMOTE_ADDR", "")):
            request.META["REMOTE_ADDR"] = said
        return get_response(request)

    return middleware


def _address(entry: str) -> str:
    """Read an address with or without a port and brackets; empty for anything else."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return "" if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        return ""


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
    # A superuser sees them all, and begins with one of their own all the same.
    own = Exists(user.memberships.filter(organization=OuterRef("pk")))
    rows = Organization.objects.order_by(own.desc(), "name", "id")
    seen = organization_policy.rows(user, "view", rows)
    wanted = request.session.get("organization")
    found = seen.filter(pk=wanted).first() if wanted else None
    return found or seen.first()


def last_seen(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Note that the person was here. Agents and tokens are not noted: they have no session.

    Nor is a page that fetches its news by itself: a browser that was left open would be seen for
    weeks.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        # The session's, in whose place the API puts whoever a token names.
        user = request.user
        answer = get_response(request)
        by_itself = request.method == "GET" and asked_by_page(request)
        if isinstance(user, User) and not by_itself:
            presence.note(user)
        return answer

    return middleware


def storage_unavailable(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer a page that needs the file storage while that does not answer: try again soon."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return get_response(request)

    def process_exception(request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, StorageUnavailable):
            return None
        return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": "5"})

    middleware.process_exception = process_exception  # type: ignore[attr-defined]
    return middleware
