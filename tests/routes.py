"""Every address that the portal answers, read from the resolver: what a table must name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

METHODS = ("get", "post", "put", "patch", "delete")
# A view that does not say which methods it takes.
ANY = "ANY"


def patterns(at: Any = None, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Give every pattern with its whole address, such as `api/v1/runs/<uuid:id>/cancel`."""
    for entry in (at or get_resolver()).url_patterns:
        address = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, address)
        else:
            yield address, entry


def routes(*, under: str = "", without: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Give (method, address) of all below `under`, except what begins with one of `without`."""
    return {
        (method, address)
        for address, pattern in patterns()
        if address.startswith(under) and not any(address.startswith(one) for one in without)
        for method in methods_of(pattern.callback)
    }


def methods_of(view: Any) -> list[str]:
    """Name the methods that a view takes: a DRF view says it, a function does not."""
    if actions := getattr(view, "actions", None):
        return [method.upper() for method in actions if method in METHODS]
    described = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if described is None:
        return [ANY]
    return [method.upper() for method in METHODS if hasattr(described, method)]
