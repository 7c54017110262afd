"""Who a page of the portal is drawn for: a person who is logged in, within an organization."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from .models import Organization, User


class PortalRequest(HttpRequest):
    """A request of which both are known."""

    user: User
    organization: Organization


def within_organization(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Send who is not logged in to the log-in, and tell who belongs to no organization so."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        known = cast(PortalRequest, request)
        if not known.organization:
            return render(request, "sites/no_organization.html", {"nav": "home"})
        return view(known, *args, **kwargs)

    return login_required(page)
