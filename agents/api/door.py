"""How a request of an agent comes in: token, strict JSON, serializer; how a refusal goes out.

These doors are plain functions behind the first middleware. DRF's own dispatch costs a third of a
claim (see bench/), so it is passed by; its serializers validate and its schema generator reads
these classes all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django.http.request import RawPostDataException
from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from sites.api.parsing import TooLarge
from sites.api.problems import refuse
from sites.problems import Refused, problem
from sites.strict_json import load

from .. import authentication
from ..models import Agent

log = logging.getLogger(__name__)

JSON_LIMIT = 16 * 1024 * 1024


# Refusals after which an agent goes on over the same connection; a server closes it when part of
# the body was left unread.
_GOES_ON = (404, 409, 416)


def _read_out(request: HttpRequest) -> None:
    """Read what is left of a body that its door refused without reading it."""
    left = JSON_LIMIT
    try:
        while left > 0 and (piece := request.read(64 * 1024)):
            left -= len(piece)
    except (OSError, RawPostDataException):
        return


class Unauthenticated(AuthenticationFailed):
    auth_header = "Bearer"


class AgentDoor(APIView):
    """A route of the agent API; `get`, `post`, `put` and `patch` take the plain request."""

    # DRF's own are passed by: `agent_of` asks who it is.
    authentication_classes = ()
    permission_classes = ()
    # Tells the schema which token opens this door.
    for_agents = True

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:  # type: ignore[override]
        described = super().as_view(**initkwargs)

        def view(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            return cls.answer(request, **kwargs)

        view.cls = cls  # type: ignore[attr-defined]
        view.initkwargs = described.initkwargs  # type: ignore[attr-defined]
        view.csrf_exempt = True  # type: ignore[attr-defined]
        return view

    @classmethod
    def answer(cls, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        method = (request.method or "").lower()
        taken = [name for name in ("get", "post", "put", "patch") if hasattr(cls, name)]
        if method not in taken:
            return respond(
                problem(405, "method_not_allowed", f"This address takes no {request.method}."),
                Allow=", ".join(taken).upper(),
            )
        answer = cls._answer_of(method, request, kwargs)
        if answer.status_code in _GOES_ON:
            _read_out(request)
        return answer

    @classmethod
    def _answer_of(
        cls, method: str, request: HttpRequest, kwargs: dict[str, Any]
    ) -> HttpResponseBase:
        try:
            request.get_host()
            answer: HttpResponseBase = getattr(cls(), method)(request, **kwargs)
            return answer
        except RequestDataTooBig:
            return refuse(TooLarge("The body is larger than this address takes."))
        except SuspiciousOperation:
            # Such as a Host that is not ours.
            return refuse(Malformed("The request is not one for this portal."))
        except UnreadablePostError:
            return refuse(Malformed("The body ended early."))
        except Exception as error:
            try:
                return refuse(error)
            except Exception:
                log.exception("An agent's request failed.")
                return respond(
                    problem(500, "error", "The portal failed; it has noted why. Try again.")
                )


def respond(body: dict[str, Any], status: int | None = None, /, **headers: str) -> HttpResponse:
    """Answer with JSON; a problem carries its own status."""
    code = status or body.get("status") if "code" in body and "title" in body else status or 200
    kind = "application/problem+json" if "title" in body and "code" in body else "application/json"
    answer = HttpResponse(json.dumps(body, default=str), content_type=kind, status=code)
    answer["Cache-Control"] = "no-store"
    answer["Content-Length"] = str(len(answer.content))
    for name, value in headers.items():
        answer[name.replace("_", "-")] = value
    return answer


def agent_of(request: HttpRequest) -> Agent:
    """Say which agent asks; 401 for anyone else, a person's token included."""
    token = authentication.bearer(request.META.get("HTTP_AUTHORIZATION", ""))
    agent = authentication.agent_of_token(token) if token else None
    if agent is None:
        raise Unauthenticated("This needs the token of an agent in use.")
    structlog.contextvars.bind_contextvars(agent_id=str(agent.public_id))
    return agent


def body_of(request: HttpRequest, serializer: type[BaseSerializer[Any]]) -> dict[str, Any]:
    """Read and validate a JSON body: 400 malformed, 413 too large, 415 not JSON, 422 invalid."""
    kind = (request.content_type or "").lower()
    if kind != "application/json":
        raise WrongType(f"Send application/json, not {kind or 'nothing'}.")
    raw = read_body(request, JSON_LIMIT)
    try:
        data = load(raw)
    except ValueError as error:
        raise Malformed(str(error)) from None
    if not isinstance(data, dict):
        raise Malformed("The body must be a JSON object.")
    checked = serializer(data=data)
    if not checked.is_valid():
        raise ValidationError(dict(checked.errors))
    valid: dict[str, Any] = checked.validated_data
    return valid


def read_body(request: HttpRequest, limit: int) -> bytes:
    """Read a body of at most `limit` bytes, whatever its Content-Length says."""
    declared = declared_length(request)
    if declared > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.")
    raw = request.read(limit + 1)
    if len(raw) > limit:
        raise TooLarge(f"The body is larger than {limit} bytes.")
    if len(raw) < declared:
        raise Malformed("The body ended early.")
    return raw


def declared_length(request: HttpRequest) -> int:
    """Read Content-Length; 0 where there is none or it is not a number."""
    text = str(request.META.get("CONTENT_LENGTH") or "")
    return int(text[:18]) if text.isascii() and text.isdigit() else 0


class Malformed(APIException):
    status_code = 400
    default_code = "malformed"


class WrongType(APIException):
    status_code = 415
    default_code = "wrong_type"


class Whole:
    """A request's body as a stream that ends with an error when it ends early.

    A connection that breaks looks like the end of the stream: without this, half a manifest would
    pass for a whole one.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request, self.left = request, declared_length(request)

    def read(self, size: int, /) -> bytes:
        data = self.request.read(size) if size else b""
        self.left -= len(data)
        if size and not data and self.left > 0:
            raise Malformed("The body ended early.")
        return data


def raw_body(request: HttpRequest, kind: str) -> Whole:
    """Give the request's body as a stream of bytes of this media type; 415 else."""
    if (request.content_type or "").lower() != kind:
        raise WrongType(f"Send {kind}.")
    return Whole(request)


def offset_of(request: HttpRequest) -> int:
    """Read `?offset=`: a whole number of bytes, 0 or more."""
    text = request.GET.get("offset", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(
            "invalid",
            "Say at which byte the chunk begins: ?offset=0.",
            status=422,
            errors={"offset": ["A whole number of bytes, 0 or more."]},
        )
    return int(text)
