"""Which runs a page of a list holds: by keyset, newest first, from what the viewer may see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F

from sites import keyset
from sites.access.policy import Person
from sites.keyset import Order

from .models import JobRun
from .permissions import run_policy
from .querysets import DURATION, FINISHED, STARTED, RunQuerySet
from .states import OUTCOMES

# Counts beyond this are printed as "10,000+": counting on would read the whole history.
MOST = 10_000
NEWEST = "-created"
ORDERS = keyset.both_ways(
    Order("created", F("created_at"), "time"),
    Order("started", STARTED, "time"),
    Order("finished", FINISHED, "time"),
    Order("duration", DURATION, "number"),
    newest_first=True,
)


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
    order: str = NEWEST,
) -> Page:
    """Give one page of the runs in ``queryset`` that the person may see, in one of ``ORDERS``.

    Three queries or fewer, whatever the person was granted. A cursor that cannot be read, or is
    one of another order, is the first page. `newer` is what comes before in the chosen order.
    """
    chosen = ORDERS[order]
    found = keyset.cut(
        queryset,
        run_policy.branches(user, "view"),
        chosen,
        size=size,
        place=keyset.read(cursor, chosen),
    )
    runs = JobRun.objects.for_rows().in_bulk(found.ids) if found.ids else {}
    return Page([runs[pk] for pk in found.ids], found.previous, found.next)


def every_run(
    user: Person, queryset: RunQuerySet, *, order: str = NEWEST, at_once: int = 500
) -> Iterator[JobRun]:
    """Give all runs of a list, one page after the other: no more than ``at_once`` in memory."""
    cursor = ""
    while True:
        page = page_of_runs(user, queryset, size=at_once, cursor=cursor, order=order)
        yield from page.rows
        cursor = page.older
        if not cursor:
            return


def count_runs(user: Person, runs: RunQuerySet, narrowed: RunQuerySet) -> dict[str, str]:
    """Count what the person may see of ``narrowed``: under "" all, and under each outcome.

    Two queries that look at the newest 10,000 of ``runs`` and no further. Where there are more, a
    number is what was found among those ("1,106+"), and a number of none is not told.
    """
    looked, share = keyset.first(runs, run_policy.branches(user, "view"), ORDERS[NEWEST], most=MOST)
    found = narrowed.order_by().filter(pk__in=looked.values("pk"))
    numbers = found.aggregate(
        every=Count("pk"), **{name: Count("pk", filter=of) for name, of in OUTCOMES.items()}
    )
    numbers[""] = numbers.pop("every")
    if looked.count() < share:
        return {name: f"{number:,}" for name, number in numbers.items()}
    return {name: f"{min(number, MOST):,}+" for name, number in numbers.items() if number}


def count_up_to(queryset: Any, most: int = MOST) -> str:
    """Count rows without reading more than ``most``: "1,204" or "10,000+"."""
    number = queryset.order_by()[: most + 1].count()
    return f"{most:,}+" if number > most else f"{number:,}"
