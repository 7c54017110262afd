"""How the API reads a body: as strict JSON, up to a size."""

from __future__ import annotations

from typing import IO, Any

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from ..strict_json import load

BODY_LIMIT = 4 * 1024 * 1024


class TooLarge(APIException):
    status_code = 413
    default_detail = "The body is larger than this address takes."


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None
    ) -> Any:
        body = stream.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            raise TooLarge
        try:
            return load(body) if body else {}
        except ValueError as error:
            raise ParseError(str(error)) from None
