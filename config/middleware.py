"""The short way in for agents: before sessions, CSRF and audit, which they have no use for."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, get_resolver

AGENTS = "/api/v1/agent/"


def agents_first(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Call the doors of the agent API directly; everything else goes on through the middleware."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(AGENTS):
            try:
                found = get_resolver().resolve(request.path_info)
            except Resolver404:
                return get_response(request)
            answer: HttpResponseBase = found.func(request, *found.args, **found.kwargs)
            answer["X-Content-Type-Options"] = "nosniff"
            return answer
        return get_response(request)

    return middleware
