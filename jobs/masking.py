"""Which values of a run are secret, and how they are kept out of everything that is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agents import catalogue

from .models import JobRun

MASK = "••••"
# Shorter values are no secrets, and masking them would eat the log.
_SHORTEST_SECRET = 4


def secrets_of(run: JobRun) -> list[str]:
    """List the secret values that the claim handed out, the longest first."""
    if not run.parameters or run.function is None:
        return []
    version = catalogue.newest_version(run.function, run.actual_version or run.version)
    names = catalogue.secret_names(version.parameters) if version else frozenset()
    found: set[str] = set()
    for name in names & run.parameters.keys():
        found.update(_texts(run.parameters[name]))
    return sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
        yield json.dumps(value)[1:-1]
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Put `••••` in place of each secret."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text
