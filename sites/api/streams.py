"""How a whole list is sent at once: as CSV or as one JSON object a line, in pieces by key."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from .. import export, keyset
from ..access.policy import EVERY
from ..export import RETRY_AFTER_S, Export, Turn, csv_line
from ..keyset import Order, Place
from .authentication import person
from .pages import address_of, order_of, place_of

# Give the objects with these ids.
Fetch = Callable[[list[int]], dict[int, Any]]
# Give what a person reads of these objects.
Show = Callable[[list[Any]], Any]


class JSONLines(JSONRenderer):
    """One object a line. What is rendered here is a problem alone: rows are sent in pieces."""

    media_type = "application/x-ndjson"
    format = "ndjson"


class Spreadsheet(JSONRenderer):
    """CSV. What is rendered here is a problem alone: rows are sent in pieces."""

    media_type = "text/csv"
    format = "csv"


WHOLE = (JSONLines, Spreadsheet)


class Forms(DefaultContentNegotiation):
    """The form that `format` or the header `Accept` asks for; one that is not on offer is 422."""

    def filter_renderers(
        self, renderers: Iterable[BaseRenderer], format: str
    ) -> list[BaseRenderer]:
        offered = {str(one.format): one for one in renderers}
        if format not in offered:
            words = f"This address answers as {', '.join(offered)}."
            raise ValidationError({"format": [words]})
        return [offered[format]]


class AnotherIsSent(APIException):
    """A person's second list at once."""

    status_code = 429
    default_detail = "Another whole list is being sent to you. Wait until it has ended."
    wait = RETRY_AFTER_S


@dataclass(frozen=True)
class Rows:
    """The rows of a list, before they are ordered and cut."""

    queryset: QuerySet[Any]
    serializer: serializers.BaseSerializer[Any]
    show: Show
    branches: Sequence[Q] = (EVERY,)
    fetch: Fetch | None = None

    def read(self, ids: list[int]) -> list[Any]:
        """Read the rows with these ids; one that is gone meanwhile is left out."""
        found = (self.fetch or self.queryset.in_bulk)(ids)
        return [found[pk] for pk in ids if pk in found]


def is_whole(request: Request) -> bool:
    """Say whether a list is asked for as a whole instead of by pages."""
    return isinstance(request.accepted_renderer, WHOLE)


def send(request: Request, rows: Rows, orders: Any) -> StreamingHttpResponse:
    """Send a list from its cursor to its end, or to the most that goes into one answer.

    No more than a few hundred rows are in memory at once, and as many are read by one statement.
    Each long and heavy: a second one of the same person at once is 429.
    """
    if "page_size" in request.GET:
        raise ValidationError({"page_size": ["A list that is sent as a whole has no pages."]})
    order = order_of(request, orders)
    place = place_of(request, order)
    if place is not None and place.side == "before":
        raise ValidationError({"cursor": ["This cursor leads back; give one from `next`."]})
    renderer = request.accepted_renderer
    turn = Turn(person(request))
    if not turn.take():
        raise AnotherIsSent
    pieces = _pieces(turn, request, rows, order, place)
    answer = StreamingHttpResponse(
        Export(turn, pieces), content_type=f"{renderer.media_type}; charset=utf-8"
    )
    name = f"{request.path.rpartition('/')[2]}.{renderer.format}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _pieces(
    turn: Turn, request: Request, rows: Rows, order: Order, place: Place | None
) -> Generator[str, None, None]:
    """Write the list in pieces; the last line says where it goes on, where it does."""
    write = _as_csv if isinstance(request.accepted_renderer, Spreadsheet) else _as_lines
    paths = list(_paths(rows.serializer))
    if write is _as_csv:
        yield csv_line(".".join(path) for path in paths)
    left = export.MOST
    while True:
        turn.renew()
        page = keyset.cut(
            rows.queryset, rows.branches, order, size=min(left, export.AT_ONCE), place=place
        )
        left -= len(page.ids)
        if page.ids:
            yield write(rows.show(rows.read(page.ids)), paths)
        if not page.next:
            return
        if not left:
            following = address_of(request, page.next)
            yield (
                csv_line([f"Here are {export.MOST:,} rows; the next ones are at {following}"])
                if write is _as_csv
                else _as_lines([{"next": following}], paths)
            )
            return
        place = keyset.read(page.next, order)


def _as_csv(rows: Any, paths: list[tuple[str, ...]]) -> str:
    return "".join(csv_line(_value(row, path) for path in paths) for row in rows)


def _as_lines(rows: Any, paths: list[tuple[str, ...]]) -> str:
    return "".join(JSONRenderer().render(row).decode() + "\n" for row in rows)


def _paths(
    serializer: serializers.BaseSerializer[Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Name the columns: one for each field, and for each field of what is named beside it."""
    assert isinstance(serializer, serializers.Serializer)
    for name, field in serializer.fields.items():
        if isinstance(field, serializers.Serializer):
            yield from _paths(field, (*above, name))
        else:
            yield (*above, name)


def _value(row: Any, path: tuple[str, ...]) -> Any:
    """Read one cell; what is a list or a document itself is JSON there."""
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return json.dumps(row, ensure_ascii=False) if isinstance(row, list | dict) else row
