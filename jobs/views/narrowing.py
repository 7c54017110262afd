"""How a list of runs or jobs reads its address: filters, sort, columns, and what it offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any
from uuid import UUID

from django.db.models import F, TextField, Value
from django.http import QueryDict
from django.utils import timezone

from agents.models import Agent
from agents.permissions import agent_policy
from jobs.filters import RunFilter
from jobs.models import Job
from jobs.pages import NEWEST, ORDERS
from jobs.permissions import job_policy
from jobs.querysets import RunQuerySet
from jobs.states import Result, Status
from sites.access import Policy
from sites.filters import ListFilter
from sites.models import Site
from sites.pages import PortalRequest
from sites.permissions import site_policy
from sites.templatetags.portal import zone_of

# So many of each menu are offered; the search and the pages of the things themselves find the rest.
MOST = 100
WITHIN = {"1": "last 24 hours", "7": "last 7 days", "30": "last 30 days", "90": "last 90 days"}
# name in the address → what a header, a menu or a pill says
MENUS = {"job": "Process", "agent": "Agent", "site": "Site"}
SAYS = {
    "search": "Name or id is",
    "status": "Status is",
    "result": "Result is",
    "job": "Process is",
    "agent": "Agent is",
    "site": "Site is",
    "target": "Target is",
    "function": "Function is",
    "tool": "Tool is",
    "external_id": "External ID is",
    "tag": "Tag is",
    "within": "Started in the",
    "from": "Started from",
    "to": "Started until",
    "started_after": "Started after",
    "started_before": "Started before",
    "created_after": "Made after",
    "created_before": "Made before",
}
SEVERAL: dict[str, list[tuple[str, str]]] = {"status": Status.choices, "result": Result.choices}
COLUMNS = {
    "result": "Result",
    "process": "Process",
    "type": "Type",
    "started": "Started",
    "began": "Began",
    "finished": "Finished",
    "updated": "Updated",
    "duration": "Duration",
    "source": "Source",
    "robot": "Robot",
    "agent": "Agent",
    "starter": "Started By",
    "id": "Job ID",
    "message": "Message",
    "progress": "Progress",
    "tags": "Tags",
}
STANDARD = ("result", "process", "started", "duration", "source", "agent", "starter", "id")
# column → its sort (of jobs.pages.ORDERS); what people read as Started is when the run was made.
SORTS = {"started": "created", "finished": "finished", "duration": "duration"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Something of a menu that the person may see."""

    pk: int
    public_id: UUID
    name: str
    zone: str


Choices = dict[str, list[Choice]]


def choices_for(request: PortalRequest, kinds: Iterable[str] = tuple(MENUS)) -> Choices:
    """Give the jobs, agents and sites of the menus, in one query."""
    organization = request.organization
    every = (
        ("job", job_policy, Job.objects.in_use().filter(organization=organization)),
        ("agent", agent_policy, Agent.objects.in_use().filter(organization=organization)),
        ("site", site_policy, Site.objects.filter(organization=organization, archived_at=None)),
    )
    parts = [_named(request, kind, policy, rows) for kind, policy, rows in every if kind in kinds]
    found: Choices = {kind: [] for kind in kinds}
    for kind, *columns in parts[0].union(*parts[1:], all=True):
        found[kind].append(Choice(*columns))
    for choices in found.values():
        choices.sort(key=lambda one: one.name.casefold())
    return found


def _named(request: PortalRequest, kind: str, policy: Policy, rows: Any) -> Any:
    # A compound statement takes no LIMIT of its parts on SQLite, but one inside IN is fine.
    some = policy.rows(request.user, "view", rows).order_by("name", "pk").values("pk")[:MOST]
    zones = {"site": F("time_zone"), "job": F("site__time_zone")}
    zone = zones.get(kind, Value("", output_field=TextField()))
    return (
        policy.model._default_manager.filter(pk__in=some)
        .order_by()
        .annotate(kind=Value(kind, output_field=TextField()), zone=zone)
        .values_list("kind", "pk", "public_id", "name", "zone")
    )


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The runs that pass, what is wrong with the filters, and each that is set as a pill."""

    runs: RunQuerySet
    errors: list[str]
    pills: list[dict[str, str]]


def narrow(
    request: PortalRequest, runs: RunQuerySet, choices: Choices, *, ignoring: Iterable[str] = ()
) -> Narrowed:
    """Narrow runs to what the address asks for, but for the filters to ignore.

    What a menu offered was looked up with the menu; everything else is read by the filters of the
    API. Filters that are not valid let nothing through.
    """
    params = request.GET.copy()
    for name in ignoring:
        params.pop(name, None)
    names = {}
    for kind, offered in choices.items():
        known = next((one for one in offered if str(one.public_id) == params.get(kind)), None)
        if known is not None:
            names[kind] = known.name
            runs = runs.filter(**{kind: known.pk})
            del params[kind]
    errors = read_days(params, zone_of(common_zone(choices)))
    filters = RunFilter(params, queryset=runs, request=request, list_of=request.organization)
    names |= names_in(filters)
    errors += errors_of(filters)
    return Narrowed(runs.none() if errors else filters.qs, errors, pills(request.GET, names))


def errors_of(filters: ListFilter) -> list[str]:
    """Give what is wrong with the filters of an address."""
    return [text for texts in filters.errors.values() for text in texts]


def names_in(filters: ListFilter) -> dict[str, str]:
    """Give the names of what valid filters are set to."""
    if not filters.is_valid():
        return {}
    read = filters.form.cleaned_data
    kinds = ("job", "agent", "site", "target", "function")
    return {kind: str(read[kind]) for kind in kinds if read.get(kind)}


def common_zone(choices: Choices) -> str:
    """Give the time zone that all sites share; UTC where they differ."""
    zones = {one.zone for one in choices.get("site", ())}
    return zones.pop() if len(zones) == 1 else "UTC"


def read_days(params: QueryDict, zone: tzinfo, *, of: str = "started") -> list[str]:
    """Turn days of the sites' zone, both included, into the instants that the filters take.

    `of` names the filters: `started_after` and `started_before`.
    """
    errors = []
    within = params.get("within", "")
    if within in WITHIN:
        began = timezone.now() - timedelta(days=int(within))
        params[f"{of}_after"] = began.isoformat()
    for name, filter_name, days in (("from", f"{of}_after", 0), ("to", f"{of}_before", 1)):
        text = params.get(name, "").strip()
        if not text:
            continue
        try:
            day = date.fromisoformat(text) + timedelta(days=days)
            params[filter_name] = datetime.combine(day, time(), zone).isoformat()
        except (ValueError, OverflowError):
            errors.append(f"“{text[:40]}” is not a day such as 2026-11-20.")
    return errors


def address(params: QueryDict, drop: Iterable[str] = (), **changes: str) -> str:
    """Give the address of the same list with some parameters changed or dropped, on page one."""
    changed = params.copy()
    for name in (*drop, "cursor", "page", "rows", "fresh"):
        changed.pop(name, None)
    for name, value in changes.items():
        changed[name] = value
    return f"?{changed.urlencode()}"


def pills(
    params: QueryDict,
    names: dict[str, str],
    says: Mapping[str, str] = SAYS,
    labels: Mapping[str, list[tuple[str, str]]] = SEVERAL,
) -> list[dict[str, str]]:
    """Give each filter of an address in words, with the address without it."""
    found = []
    for name, words in says.items():
        values = [value.strip() for value in params.getlist(name) if value.strip()]
        if not values:
            continue
        if name in labels:
            known = dict(labels[name])
            shown = ", ".join(known.get(value, value) for value in values)
        elif name == "within":
            shown = WITHIN.get(values[-1], values[-1])
        else:
            shown = names.get(name, values[-1])
            if len(shown) == 36 and shown.count("-") == 4:
                shown = f"{shown[:6]}…"
        found.append({"words": words, "value": shown[:60], "without": address(params, drop=[name])})
    return found


def menus(
    params: QueryDict, choices: Choices, offered: Mapping[str, str] = MENUS
) -> list[dict[str, Any]]:
    """Describe the menus of one choice each; empty ones are left out."""
    return [
        {
            "name": name,
            "words": words,
            "more": len(choices[name]) >= MOST,
            "choices": [
                {
                    "name": one.name,
                    "on": params.get(name) == str(one.public_id),
                    "url": address(params, **{name: str(one.public_id)}),
                }
                for one in choices[name]
            ],
        }
        for name, words in offered.items()
        if choices.get(name)
    ]


def several(params: QueryDict) -> list[dict[str, Any]]:
    """Describe the groups of the Status menu, of which several may be ticked."""
    return [
        {
            "name": name,
            "words": name.capitalize(),
            "choices": [
                {"value": value, "words": label, "on": value in params.getlist(name)}
                for value, label in choices
            ],
        }
        for name, choices in SEVERAL.items()
    ]


def spans(params: QueryDict) -> list[dict[str, Any]]:
    """Describe the spans of the Started menu."""
    return [
        {
            "words": f"{words[0].upper()}{words[1:]}",
            "on": params.get("within") == value,
            "url": address(params, ["from", "to", "started_after", "started_before"], within=value),
        }
        for value, words in WITHIN.items()
    ]


def columns_of(params: QueryDict) -> list[dict[str, Any]]:
    """Say of each column whether it is shown; the standard ones where the address names none."""
    asked = {name for name in params.getlist("columns") if name in COLUMNS}
    return [
        {"name": name, "words": words, "on": name in (asked or STANDARD)}
        for name, words in COLUMNS.items()
    ]


def order_of(params: QueryDict) -> str:
    """Read the sort; the newest first where the address names none that is offered."""
    asked = params.get("ordering", "")
    return asked if asked in ORDERS and asked.lstrip("-") in SORTS.values() else NEWEST


def sorts(params: QueryDict, order: str) -> dict[str, dict[str, str]]:
    """Give for each column that sorts its direction now and the address of the other one.

    A column that does not sort the list yet begins with the greatest.
    """
    found = {}
    for column, name in SORTS.items():
        now = {f"-{name}": "descending", name: "ascending"}.get(order, "")
        then = name if now == "descending" else f"-{name}"
        url = address(params, ["ordering"]) if then == NEWEST else address(params, ordering=then)
        found[column] = {"now": now, "url": url}
    return found


def kept(params: QueryDict, *without: str) -> list[tuple[str, str]]:
    """Give what a form of the list must send along so that nothing else of the address is lost."""
    left_out = {"cursor", "page", "rows", "fresh", *without}
    return [
        (name, value) for name, values in params.lists() if name not in left_out for value in values
    ]
