"""How JSON is read, in bodies, forms and files: strictly, since readers forgive differently."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

DEPTH_LIMIT = 40
TOO_LARGE = "A number is larger than 64 bits."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("An object names the same key twice.")
    return found


def _integer(digits: str) -> int:
    # Python itself reads no number of thousands of digits, and says so in words of its own.
    if len(digits) > 20:
        raise ValueError(TOO_LARGE)
    return int(digits)


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
        raise ValueError(TOO_LARGE)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("A number is larger than a double can hold.")


def load(body: bytes) -> Any:
    """Read one JSON document. ValueError says in a sentence what is wrong with it."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_int=_integer,
            object_pairs_hook=_unique,
        )
        check(value)
    except RecursionError:
        raise ValueError(f"Nested deeper than {DEPTH_LIMIT} levels.") from None
    except UnicodeDecodeError:
        raise ValueError("This is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"This is not JSON: {error}.") from None
    return value
