"""How an exception becomes an answer: problem JSON everywhere, whatever went wrong."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from .. import files, vault
from ..problems import Refused, problem
from ..storage import StorageUnavailable

CODES = {
    400: "malformed",
    401: "not_authenticated",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "wrong_type",
    422: "invalid",
    429: "too_many_requests",
    500: "error",
    503: "unavailable",
}
NOT_FOUND = "There is nothing here that you may see."


def _flat(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """Lay nested field errors flat: {"runs.0.id": ["…"]}."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for key, value in detail.items():
            found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        found = {}
        for index, value in enumerate(detail):
            found |= _flat(value, f"{prefix}.{index}" if prefix else str(index))
        return found
    items = detail if isinstance(detail, list) else [detail]
    return {prefix or "body": [str(item) for item in items]} if items else {}


def answer_for(error: Exception) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Give the problem and its headers for an exception; None for one that nobody foresaw."""
    match error:
        case Refused():
            return problem(
                error.status, error.code, error.detail, errors=error.errors, **error.more
            ), {}
        case files.OffsetMismatch():
            return problem(416, error.code, str(error), length=error.length), {}
        case files.TooLarge():
            return problem(413, error.code, str(error)), {}
        case files.UploadError():
            return problem(422, error.code, str(error)), {}
        case vault.NotInVault():
            return problem(404, CODES[404], str(error)), {}
        case vault.IncompleteSnapshot():
            lacks: dict[str, Any] = {
                "missing": error.missing,
                "missing_content": error.missing_content,
            }
            return problem(422, error.code, str(error), **lacks), {}
        case vault.VaultError():
            return problem(422, error.code, str(error)), {}
        case Http404() | exceptions.NotFound():
            # The same words for an id that does not exist and for one of another organization.
            return problem(404, CODES[404], NOT_FOUND), {}
        case PermissionDenied():
            return problem(403, CODES[403], str(error) or "Your role does not allow this."), {}
        case ValidationError():
            errors = (
                error.message_dict if hasattr(error, "error_dict") else {"body": error.messages}
            )
            return problem(422, "invalid", "Some fields are not valid.", errors=errors), {}
        case exceptions.ValidationError():
            return problem(
                422, "invalid", "Some fields are not valid.", errors=_flat(error.detail)
            ), {}
        case exceptions.APIException():
            headers = {}
            if asked_for := getattr(error, "auth_header", None):
                headers["WWW-Authenticate"] = asked_for
            if wait := getattr(error, "wait", None):
                headers["Retry-After"] = str(int(wait))
            return problem(
                error.status_code, CODES.get(error.status_code, "error"), str(error.detail)
            ), headers
        case StorageUnavailable():
            return problem(503, CODES[503], str(error)), {"Retry-After": "5"}
        case OperationalError():
            return (
                problem(503, CODES[503], "The database does not answer at the moment. Try again."),
                {"Retry-After": "5"},
            )
        case DatabaseError():
            return None
    return None


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: an exception always rolls back."""
    answer = answer_for(error)
    if answer is None:
        return None
    set_rollback()
    body, headers = answer
    return Response(
        body, status=body["status"], headers=headers, content_type="application/problem+json"
    )


def refuse(error: Exception) -> JsonResponse:
    """Give the same answer from a door without DRF; raise again what nobody foresaw."""
    answer = answer_for(error)
    if answer is None:
        raise error
    body, headers = answer
    return _problem(body, headers)


API = "/api/"


def _plain(status: int, detail: str) -> JsonResponse:
    return _problem(problem(status, CODES[status], detail))


def _problem(body: dict[str, Any], headers: dict[str, str] | None = None) -> JsonResponse:
    """Render a problem with its length: no middleware that would add it comes after some doors."""
    answer = JsonResponse(
        body, status=body["status"], headers=headers, content_type="application/problem+json"
    )
    answer["Content-Length"] = str(len(answer.content))
    return answer


@csrf_exempt
def nothing_here(request: HttpRequest, **_: Any) -> HttpResponse:
    """Answer an address of the API that does not exist."""
    return _plain(404, NOT_FOUND)


# Django's own error pages (handler400, 403, 404, 500), as problems where a program asked.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django itself refuses, such as one for another host."""
    if request.path.startswith(API):
        return _plain(400, "The request is malformed: see its host, address and headers.")
    return defaults.bad_request(request, exception)


def not_allowed(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what a person may see and not do."""
    if request.path.startswith(API):
        return _plain(403, str(exception) or "Your role does not allow this.")
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what does not exist, or not for this person."""
    if request.path.startswith(API):
        return _plain(404, NOT_FOUND)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a failure of the portal itself; the log has the reason."""
    if request.path.startswith(API):
        return _plain(500, "The portal failed; it has noted why. Try again.")
    return defaults.server_error(request)
