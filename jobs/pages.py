"""Which runs a page of a list holds: by keyset, newest first, from what the viewer may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F

from sites import keyset
from sites.access.policy import Person
from sites.keyset import Order

from . import waiting
from .models import JobRun
from .permissions import run_policy
from .querysets import DURATION, FINISHED, STARTED, RunQuerySet
from .states import OUTCOMES

# Counts beyond this are printed as "10,000+": counting on would read the whole history.
MOST = 10_000
# As many rows as the longest page of a list has.
FEW = 100
# So many ids are read at once where a whole list is gone through.
PAGE = 2_000
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

    Four queries or fewer, whatever the person was granted; why runs wait is told. A cursor that
    cannot be read, or is one of another order, is the first page. `newer` is what comes before in
    the chosen order.
    """
    chosen = ORDERS[order]
    found = keyset.cut(
        queryset,
        run_policy.branches(user, "view"),
        chosen,
        size=size,
        place=keyset.read(cursor, chosen),
    )
    known = JobRun.objects.for_rows().in_bulk(found.ids) if found.ids else {}
    rows = waiting.told([known[pk] for pk in found.ids], by=user)
    return Page(rows, found.previous, found.next)


def newest_runs(user: Person, queryset: RunQuerySet, *, most: int) -> tuple[list[int], bool]:
    """Give the ids of the newest runs of a list, and whether there are more than ``most``.

    Page by page along when they were made, which never changes: a run that is made, starts or ends
    meanwhile shifts no other one.
    """
    found: list[int] = []
    place = None
    branches, order = run_policy.branches(user, "view"), ORDERS[NEWEST]
    while True:
        size = min(PAGE, most - len(found))
        page = keyset.cut(queryset, branches, order, size=size, place=place)
        found += page.ids
        place = keyset.read(page.next, order)
        if place is None or len(found) >= most:
            return found, place is not None


def sorted_runs(ids: list[int], order: str) -> list[int]:
    """Sort runs, given newest first, by one of ``ORDERS`` as they are now."""
    chosen = ORDERS[order]
    if chosen.name.lstrip("-") == "created":
        return ids if chosen.descending else ids[::-1]
    keys: dict[int, Any] = {}
    for at in range(0, len(ids), PAGE):
        some = JobRun.objects.filter(pk__in=ids[at : at + PAGE]).order_by()
        keys |= some.annotate(_at=chosen.column()).values_list("pk", "_at")
    return sorted(keys, key=lambda pk: (keys[pk], pk), reverse=chosen.descending)


def count_runs(
    user: Person, runs: RunQuerySet, narrowed: RunQuerySet, *, outcome: str = ""
) -> dict[str, str]:
    """Count what the person may see of ``narrowed``: under "" all, and under each outcome.

    Exact where the person sees 10,000 of ``runs`` or fewer, or where the list that is shown, the
    one of ``outcome``, is no longer than a page. Else a number is what was found among the newest
    ones, which are looked at and no others ("1,106+"), and a number of none is not told.
    """
    branches = run_policy.branches(user, "view")
    looked, number = keyset.first(runs, branches, ORDERS[NEWEST], most=MOST)
    numbers = _tally(narrowed.order_by().filter(pk__in=looked.values("pk")))
    if number <= MOST:
        return {name: f"{number:,}" for name, number in numbers.items()}
    # To draw its page the list has read as far already.
    shown = narrowed.with_outcome(outcome) if outcome else narrowed
    page = keyset.cut(shown, branches, ORDERS[NEWEST], size=FEW, place=None)
    if not page.next:
        exact = _tally(JobRun.objects.filter(pk__in=page.ids))
        if not outcome:
            return {name: f"{number:,}" for name, number in exact.items()}
        numbers.pop(outcome)
    else:
        numbers[outcome] = max(numbers[outcome], FEW)
    told = {name: f"{min(number, MOST):,}+" for name, number in numbers.items() if number}
    return told if page.next else told | {outcome: f"{len(page.ids):,}"}


def _tally(runs: Any) -> dict[str, int]:
    numbers = runs.aggregate(
        every=Count("pk"), **{name: Count("pk", filter=of) for name, of in OUTCOMES.items()}
    )
    return {"": numbers.pop("every"), **numbers}


def count_up_to(queryset: Any, most: int = MOST) -> str:
    """Count rows without reading more than ``most``: "1,204" or "10,000+"."""
    number = queryset.order_by()[: most + 1].count()
    return f"{most:,}+" if number > most else f"{number:,}"
