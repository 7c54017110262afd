"""The page of planned starts: a calendar of what became of them, and the list."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from jobs import ledger
from jobs.filters import OccurrenceFilter
from jobs.ledger import Span
from jobs.models import Job, Occurrence
from jobs.permissions import job_policy, occurrence_policy
from jobs.views import narrowing
from jobs.views.narrowing import Choices
from jobs.views.runs import SIZES, size_of
from sites import keyset
from sites.export import MOST
from sites.keyset import Order
from sites.pages import PortalRequest, at_cursor, within_organization
from sites.permissions import site_policy
from sites.templatetags.portal import zone_of

NEWEST = Order("planned", F("planned_at"), "time", descending=True)
MENUS = {"job": "Job", "site": "Site"}
SAYS = {
    "job": "Job is",
    "site": "Site is",
    "target": "Target is",
    "reason": "Reason is",
    "within": "Planned in the",
    "from": "Planned from",
    "to": "Planned until",
}
TABS = {
    "ran": "On time",
    "late": "Late",
    "skipped": "Skipped",
    "never_began": "Never began",
    "missed": "Missed",
}
# By these the calendar is narrowed too.
PLACES = ("site", "target", "job")
# So many of a job's own are on its page.
OF_A_JOB = 5


@within_organization
@require_GET
def planned_list(request: PortalRequest) -> HttpResponse:
    """List the planned starts that the person may see under a calendar of what became of them.

    Days are those of the zone that the sites share, else of UTC. The calendar goes by job, site
    and target; the list by what became of a start and by time as well.
    """
    choices = narrowing.choices_for(request, MENUS)
    name = _zone(request, choices)
    zone = zone_of(name)
    here = Occurrence.objects.filter(organization=request.organization)
    params = request.GET.copy()
    fate = params.pop("outcome", [""])[-1]
    for key, value in ledger.FATES.get(fate, {}).items():
        params[key] = value
    errors = narrowing.read_days(params, zone, of="planned")
    filters = OccurrenceFilter(params, queryset=here, request=request)
    errors += narrowing.errors_of(filters)
    today = datetime.now(zone).date()
    span, wrong = _span(request.GET, today)
    errors += wrong
    page = keyset.cut(
        here.none() if errors else filters.qs,
        occurrence_policy.branches(request.user, "view"),
        NEWEST,
        size=size_of(request),
        place=keyset.read(request.GET.get("cursor", ""), NEWEST),
    )
    starts = rows_of(Occurrence.objects.all()).in_bulk(page.ids) if page.ids else {}
    places = {} if errors else {kind: filters.form.cleaned_data[kind] for kind in PLACES}
    found = [starts[pk] for pk in page.ids]
    zones = {start.site.time_zone for start in found}
    pills = narrowing.pills(
        request.GET,
        narrowing.names_in(filters),
        SAYS,
        {"reason": Occurrence.Reason.choices},
    )
    return render(
        request,
        "jobs/planned_list.html",
        {
            "nav": "planned",
            "starts": found,
            # Whoever has started it may see the start, and the job no more.
            "permitted": job_policy.permitted(
                request.user, ["view"], [start.job_id for start in found]
            ),
            "zone": zones.pop() if len(zones) == 1 else "",
            "days_zone": name,
            "calendar": ledger.calendar(request.user, _within(request, places), span, zone, name),
            "months": _months(request.GET, span, today),
            "path": _open(narrowing.address(request.GET, ["from", "to", "within"])),
            "tabs": TABS,
            "fate": fate if fate in TABS else "",
            "newer": at_cursor(request, page.previous),
            "older": at_cursor(request, page.next),
            "pills": pills,
            "filter_errors": errors,
            "menus": narrowing.menus(request.GET, choices, MENUS),
            "spans": narrowing.spans(request.GET),
            "kept_for_days": narrowing.kept(request.GET, "within", "from", "to"),
            "kept": narrowing.kept(request.GET, "size"),
            "size": size_of(request),
            "sizes": SIZES,
            "export": _export(request, params) if not errors else "",
            "export_most": f"{MOST:,}",
        },
    )


def rows_of(starts: QuerySet[Occurrence]) -> QuerySet[Occurrence]:
    """Join what a row of the list shows, without what a run may be long of."""
    long = ("parameters", "data", "message", "summary", "error")
    return starts.select_related("job", "site", "target", "run").defer(
        *(f"run__{name}" for name in long)
    )


def of_job(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Give the calendar and the newest planned starts of one job, for its page: two queries."""
    name = job.site.time_zone
    zone = zone_of(name)
    starts = Occurrence.objects.filter(job=job)
    span = ledger.last_weeks(datetime.now(zone).date())
    newest = occurrence_policy.rows(request.user, "view", rows_of(starts))
    return {
        "calendar": ledger.calendar(request.user, starts, span, zone, name),
        "starts": newest.order_by("-planned_at", "-pk")[:OF_A_JOB],
        "all": f"{reverse('planned-list')}?job={job.public_id}",
        "path": f"{reverse('planned-list')}?job={job.public_id}&",
    }


def _within(request: PortalRequest, places: dict[str, Any]) -> QuerySet[Occurrence]:
    """Narrow to the places that are named; by them alone, or the whole organization is read."""
    named = {kind: place for kind, place in places.items() if place is not None}
    if any(place.organization_id != request.organization.pk for place in named.values()):
        return Occurrence.objects.none()
    return Occurrence.objects.filter(**(named or {"organization": request.organization}))


def _open(address: str) -> str:
    """Leave an address open at its end, for one more parameter."""
    return address if address.endswith("?") else f"{address}&"


def _zone(request: PortalRequest, choices: Choices) -> str:
    """Name the zone of the site that is shown, or of the job's; else the one that all share."""
    policies = (("site", site_policy, "time_zone"), ("job", job_policy, "site__time_zone"))
    for kind, policy, column in policies:
        try:
            asked = UUID(request.GET.get(kind, ""))
        except ValueError:
            continue
        for one in choices[kind]:
            if one.public_id == asked:
                return one.zone
        rows = policy.model._default_manager.filter(public_id=asked)
        rows = policy.rows(request.user, "view", rows)
        return str(rows.values_list(column, flat=True).first() or "UTC")
    return narrowing.common_zone(choices)


def _span(params: QueryDict, today: date) -> tuple[Span, list[str]]:
    """Read which month the calendar shows; the last weeks where the address names none."""
    text = params.get("month", "").strip()
    if not text:
        return ledger.last_weeks(today), []
    try:
        day = datetime.strptime(f"{text}-01", "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return ledger.last_weeks(today), [f"“{text[:40]}” is not a month such as 2026-11."]
    if not 2000 <= day.year <= today.year + 1:
        return ledger.last_weeks(today), [f"Nothing was planned in {text[:40]}."]
    return ledger.month_of(day, today), []


def _months(params: QueryDict, span: Span, today: date) -> dict[str, Any]:
    """Give the addresses of the calendars beside this one."""
    # From the weeks one goes to the month that it is.
    before = span.first - ledger.DAY if span.month else span.last
    after = (span.first + 31 * ledger.DAY).replace(day=1)
    return {
        "name": f"{span.first:%B %Y}" if span.month else f"The last {ledger.WEEKS} weeks",
        "before": narrowing.address(params, month=f"{before:%Y-%m}"),
        "after": narrowing.address(params, month=f"{after:%Y-%m}")
        if span.month and after <= today
        else "",
        "weeks": narrowing.address(params, ["month"]) if span.month else "",
    }


def _export(request: PortalRequest, params: QueryDict) -> str:
    """Give the address at which the API sends the same list as CSV."""
    offered = OccurrenceFilter.base_filters
    sent = QueryDict(mutable=True)
    for name, values in params.lists():
        if name in offered and name != "organization":
            sent.setlist(name, [value for value in values if value])
    sent["organization"] = str(request.organization.public_id)
    sent["format"] = "csv"
    return f"{reverse('api-occurrences-list')}?{sent.urlencode()}"
