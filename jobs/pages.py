"""Which runs a page of a list holds: by keyset, newest first, from what the viewer may see."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from sites.access.policy import Person

from .models import JobRun
from .permissions import run_policy
from .querysets import RunQuerySet

# Counts beyond this are printed as "10,000+": counting on would read the whole history.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs of a list, with the cursors of its neighbours (empty where there are none)."""

    rows: list[JobRun]
    newer: str
    older: str


def page_of_runs(
    user: Person,
    queryset: RunQuerySet,
    *,
    size: int,
    cursor: str = "",
    oldest_first: bool = False,
) -> Page:
    """Give one page of the runs in ``queryset`` that the person may see.

    Each branch of what they may see (own, granted site, granted target, organization) is read
    along its own index and the newest of all are kept: OR-ing the branches made the database sort
    everything (527 ms against 0.8 ms at 2.2 M rows). A cursor that cannot be read is the first page.
    """
    place = _read(cursor)
    backwards = place is not None and place[0] == "before"
    descending = oldest_first == backwards
    keys: dict[int, datetime] = {}
    for branch in run_policy.branches(user, "view"):
        rows = queryset.filter(branch)
        if place is not None:
            rows = rows.filter(_beyond(place[1], place[2], descending))
        order = ("-created_at", "-id") if descending else ("created_at", "id")
        keys.update(rows.order_by(*order).values_list("pk", "created_at")[: size + 1])
    found = sorted(keys, key=lambda pk: (keys[pk], pk), reverse=descending)
    more = len(found) > size
    found = found[:size]
    if backwards:
        found.reverse()
    runs = JobRun.objects.for_rows().in_bulk(found)
    page = [runs[pk] for pk in found]
    if not page:
        return Page([], "", "")
    has_newer = more if backwards else place is not None
    has_older = True if backwards else more
    return Page(
        page,
        _write("before", page[0]) if has_newer else "",
        _write("after", page[-1]) if has_older else "",
    )


def count_up_to(queryset: Any, most: int = MOST) -> str:
    """Count rows without reading more than ``most``: "1,204" or "10,000+"."""
    number = queryset.order_by()[: most + 1].count()
    return f"{most:,}+" if number > most else f"{number:,}"


def _beyond(created_at: datetime, pk: int, descending: bool) -> Q:
    side = "lt" if descending else "gt"
    # The first condition alone bounds the index scan; the second settles equal times.
    return Q(**{f"created_at__{side}e": created_at}) & (
        Q(**{f"created_at__{side}": created_at}) | Q(**{f"id__{side}": pk})
    )


def _write(side: str, run: JobRun) -> str:
    place = json.dumps([side, run.created_at.isoformat(), run.pk], separators=(",", ":"))
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _read(cursor: str) -> tuple[str, datetime, int] | None:
    if not cursor or len(cursor) > 200:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        side, at, pk = json.loads(text)
        moment = datetime.fromisoformat(at)
        if side not in ("before", "after") or moment.tzinfo is None or not 0 <= int(pk) < 2**63:
            return None
        return side, moment, int(pk)
    except (ValueError, TypeError, binascii.Error, OverflowError, RecursionError):
        return None
