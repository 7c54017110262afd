"""What every request passes first: its id and its count, and the short way in for agents."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, get_resolver

from config import metrics
from config.logs import REQUEST_ID

AGENTS = "/api/v1/agent/"
# Asked by who knows no host name and speaks no TLS: the machine beside this one.
PROBES = ("/healthz", "/readyz", "/metrics")

access = structlog.get_logger("yardmaster.access")


def told_apart(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give each request an id, which its log lines and its answer carry; count it, and log it.

    The id of a trusted proxy is taken over. Not the address is logged but its pattern, which holds
    no secret; whose run and which agent it was stand beside it.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        trusted = settings.TRUSTED_PROXIES > 0 and REQUEST_ID.fullmatch(given)
        request_id = given if trusted else uuid.uuid4().hex
        # django-structlog reads it here, and no one else's word reaches it.
        request.META["HTTP_X_REQUEST_ID"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = get_response(request)
        answer["X-Request-ID"] = request_id
        seconds = time.perf_counter() - begun
        metrics.count(request.path_info, request.method, answer.status_code, seconds)
        # django-structlog has forgotten it; Django says after all middleware what it refused.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if request.path_info not in PROBES:
            found = request.resolver_match
            access.info(
                "request",
                method=request.method,
                route=f"/{found.route}" if found else "",
                status=answer.status_code,
                ms=round(seconds * 1000, 1),
                address=request.META.get("REMOTE_ADDR", ""),
            )
        return answer

    return middleware


def agents_first(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Call the doors of agents and probes directly; all else goes on through the middleware.

    Neither has a use for sessions, CSRF checks and audit, or for the host name of the request.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(AGENTS) or request.path_info in PROBES:
            try:
                found = get_resolver().resolve(request.path_info)
            except Resolver404:
                return get_response(request)
            request.resolver_match = found
            if "run" in found.kwargs:
                structlog.contextvars.bind_contextvars(run_id=str(found.kwargs["run"]))
            answer: HttpResponseBase = found.func(request, *found.args, **found.kwargs)
            answer["X-Content-Type-Options"] = "nosniff"
            return answer
        return get_response(request)

    return middleware
