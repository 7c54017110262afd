"""How a door takes an `Idempotency-Key`: the rule keeps the answer, the door renders it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ..idempotency import fingerprint, once
from .authentication import person

HEADER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Same key and body within 48 h: the same answer, and one effect.",
)


def answer_once(
    request: Request,
    act: Callable[[], tuple[int, dict[str, Any]]],
    *,
    before: Callable[[], None] | None = None,
) -> Response:
    """Answer what `act` gives (status, body); with a key only the first equal request acts.

    `before` prepares it, outside its transaction.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        if before is not None:
            before()
        status, body = act()
        return Response(body, status=status)
    if not 1 <= len(key) <= 255 or not all("!" <= letter <= "~" for letter in key):
        raise ValidationError({"Idempotency-Key": ["1 to 255 visible ASCII characters."]})

    def rendered() -> tuple[int, dict[str, Any]]:
        status, body = act()
        return status, json.loads(JSONRenderer().render(body))

    assert request.method is not None
    asked = fingerprint(request.method, request.path, request.data)
    done = once(person(request), key, asked, rendered, before=before)
    headers = {"Idempotency-Replayed": "true"} if done.replayed else {}
    return Response(done.body, status=done.status, headers=headers)
