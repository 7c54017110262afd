"""How JSON is read, in bodies and forms: strictly, since readers forgive different mistakes."""

from __future__ import annotations

import json
import math
from typing import IO, Any, NoReturn

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

BODY_LIMIT = 4 * 1024 * 1024
DEPTH_LIMIT = 40


class TooLarge(APIException):
    status_code = 413
    default_detail = "The body is larger than this address takes."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("An object names the same key twice.")
    return found


def check(value: Any, depth: int = 0) -> None:
    """Refuse what no column can hold: NUL, lone surrogates, endless nesting, huge numbers."""
    if depth > DEPTH_LIMIT:
        raise ValueError(f"Nested deeper than {DEPTH_LIMIT} levels.")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("Text must not hold NUL.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("Text must be valid Unicode, without lone surrogates.") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            check(key, depth + 1)
            check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check(item, depth + 1)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        raise ValueError("A number is larger than 64 bits.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("A number is larger than a double can hold.")


def load(body: bytes) -> Any:
    """Read one JSON document. ValueError says in a sentence what is wrong with it."""
    try:
        value = json.loads(
            body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
        check(value)
    except RecursionError:
        raise ValueError(f"Nested deeper than {DEPTH_LIMIT} levels.") from None
    except UnicodeDecodeError:
        raise ValueError("This is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"This is not JSON: {error}.") from None
    return value


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
