"""Which values of a run are secret, and how they are kept out of all that is stored or shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from agents import catalogue
from agents.models import Function
from sites import credentials
from sites.masking import HIDDEN, looks_secret, without_secrets
from sites.masking import masked as hidden_in
from sites.models import Credential

from .models import JobRun

# Shorter values are no secrets, and masking them would eat the log.
_SHORTEST_SECRET = 4


def shown_parameters(function: Function | None, parameters: dict[str, Any]) -> dict[str, Any]:
    """Copy parameters with each secret hidden, for every door and whoever asks.

    Secret is what any version of the function marks, since an older run must not show it either;
    of a function that no version tells of, what has the name of one.
    """
    return dict(hidden_in(parameters, _secret_in(function, parameters)))


def holds_secrets(function: Function | None, parameters: dict[str, Any]) -> bool:
    """Say whether there is anything among parameters that is hidden where they are shown."""
    return bool(parameters) and shown_parameters(function, parameters) != parameters


def cleared(function: Function | None, parameters: dict[str, Any]) -> dict[str, Any]:
    """Copy parameters without their secrets."""
    return dict(without_secrets(parameters, _secret_in(function, parameters)))


def _secret_in(function: Function | None, parameters: dict[str, Any]) -> Callable[[str], bool]:
    names = catalogue.secret_parameters(function) if function and parameters else None
    return looks_secret if names is None else names.__contains__


def secrets_of(run: JobRun) -> list[str]:
    """List the secret values that the claim handed out, the longest first.

    Those of the parameters, what has the name of a secret among the target's settings, and what its
    credential holds and has held. `run` is as `transitions.held_run` gives it.
    """
    found: set[str] = set()
    if run.parameters and run.function is not None:
        names = catalogue.secret_parameters(run.function)
        found.update(_values(run.parameters, looks_secret if names is None else names.__contains__))
    settings = getattr(run, "target_settings", None)
    if settings and settings != "{}":
        found.update(_values(json.loads(settings), looks_secret))
    found = {text for text in found if len(text) >= _SHORTEST_SECRET}
    if run.credential_id is not None:
        sealed = Credential.objects.values_list("sealed", flat=True).get(pk=run.credential_id)
        found |= credentials.texts(sealed)
    return sorted(found, key=len, reverse=True)


def _values(data: Any, secret: Callable[[str], bool]) -> Iterable[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _texts(value) if secret(name) else _values(value, secret)
    elif isinstance(data, list):
        for item in data:
            yield from _values(item, secret)


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
        text = text.replace(secret, HIDDEN)
    return text
