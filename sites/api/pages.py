"""How a list of the API is ordered and paged: by key, and by parameters that it offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from .. import keyset
from ..access.policy import EVERY
from ..keyset import Order, Place

SIZE = 50
MOST = 100
# What every list takes beside its filters.
PARAMETERS = ("cursor", "page_size", "ordering", "format")


class CursorPages(BasePagination):
    """`{"next", "previous", "results"}`; `page_size` up to 100, `ordering` of the list's own."""

    request: Request
    previous: str
    next: str

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: Any = None
    ) -> list[Any]:
        """Cut the page out of a list whose rows the person may all see."""
        order = order_of(request, view.sorts())
        place = place_of(request, order)
        found = keyset.cut(queryset, [EVERY], order, size=size_of(request), place=place)
        self.stands_at(request, found.previous, found.next)
        rows = queryset.in_bulk(found.ids) if found.ids else {}
        return [rows[pk] for pk in found.ids]

    def stands_at(self, request: Request, previous: str, following: str) -> None:
        """Note the cursors of the pages beside this one."""
        self.request, self.previous, self.next = request, previous, following

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {"next": self._at(self.next), "previous": self._at(self.previous), "results": data}
        )

    def _at(self, cursor: str) -> str | None:
        return address_of(self.request, cursor) if cursor else None

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        address = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": address, "previous": address, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        orders: Mapping[str, Order] = view.sorts()
        return [
            _parameter(
                "cursor", {"type": "string", "maxLength": 2000}, "From `next` or `previous`."
            ),
            _parameter(
                "page_size",
                {"type": "integer", "minimum": 1, "maximum": MOST, "default": SIZE},
                "Rows on a page.",
            ),
            _parameter(
                "ordering",
                {"type": "string", "enum": list(orders), "default": next(iter(orders), "")},
                "How the list is sorted; a minus turns it round.",
            ),
        ]


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "schema": schema,
        "description": description,
    }


def address_of(request: Request, cursor: str) -> str:
    """Give the address of the same list from a cursor on."""
    query = [(k, v) for k, vs in request.GET.lists() for v in vs if k != "cursor"]
    path = request.build_absolute_uri(request.path)
    return f"{path}?{urlencode([*query, ('cursor', cursor)])}"


def size_of(request: Request) -> int:
    """Read `page_size`: 1 to 100; 422 else."""
    text = request.GET.get("page_size", str(SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST):
        raise ValidationError({"page_size": [f"A whole number from 1 to {MOST}."]})
    return int(text)


def order_of(request: Request, orders: Mapping[str, Order]) -> Order:
    """Read `ordering`; the first on offer is the default, one that is not on offer is 422."""
    name = request.GET.get("ordering", next(iter(orders)))
    if name not in orders:
        raise ValidationError({"ordering": [f"This list is sorted by {', '.join(orders)}."]})
    return orders[name]


def refuse_unknown(request: Request, offered: set[str]) -> None:
    """Refuse (422) parameters that a list does not offer: ignored, they would seem to hold."""
    unknown = request.GET.keys() - offered
    if unknown:
        words = f"This list takes {', '.join(sorted(offered))}."
        raise ValidationError({name[:100]: [words] for name in sorted(unknown)})


def place_of(request: Request, order: Order) -> Place | None:
    """Read `cursor`; one that this list did not give is 422."""
    if "cursor" not in request.GET:
        return None
    place = keyset.read(request.GET["cursor"], order)
    if place is None:
        raise ValidationError({"cursor": ["This is no cursor of this list in this order."]})
    return place
