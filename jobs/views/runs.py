"""The pages of runs: My Jobs and All Jobs, Job History, and what is done to one run."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from jobs import retention, retries, starts, transitions, waiting
from jobs.export import export_of
from jobs.models import JobRun
from jobs.pages import NEWEST, count_runs, count_up_to, page_of_runs
from jobs.permissions import run_policy
from jobs.querysets import RunQuerySet
from jobs.states import OUTCOMES, Status
from jobs.views import narrowing
from sites.access import grants_of
from sites.export import MOST, RETRY_AFTER_S, Turn
from sites.models import Role
from sites.pages import PortalRequest, at_cursor, back, within_organization
from sites.problems import Refused

SIZES = (25, 50, 100)
OUTCOME_NAMES = {
    "running": "Running",
    "success": "Success",
    "failed": "Failed",
    "partial": "Partial",
    "cancelled": "Cancelled",
}


def is_administrator(request: PortalRequest) -> bool:
    """Say whether the person administers the current organization (All Jobs is for them alone)."""
    grants = grants_of(request.user)
    return request.organization is not None and (
        request.organization.pk in grants.organizations(Role.ADMINISTRATOR)
    )


@within_organization
@require_GET
def my_jobs(request: PortalRequest) -> HttpResponse:
    """List the runs that the person started; administrators switch to All Jobs."""
    administrator = is_administrator(request)
    every = administrator and request.GET.get("tab") == "all"
    runs = JobRun.objects.filter(organization=request.organization)
    if not every:
        runs = runs.mine(request.user)
    return _list(
        request,
        runs,
        "jobs/run_list.html",
        {"nav": "runs", "every": every, "administrator": administrator},
    )


@within_organization
@require_GET
def history(request: PortalRequest) -> HttpResponse:
    """List all runs of the current organization that the person may see (Job History)."""
    runs = JobRun.objects.filter(organization=request.organization)
    if "counts" in request.GET:
        return _counts(request, runs)
    running = run_policy.rows(request.user, "view", runs.active())
    return _list(
        request,
        runs,
        "jobs/run_history.html",
        {
            "nav": "history",
            "outcomes": OUTCOME_NAMES,
            "outcome": request.GET.get("outcome", ""),
            "running": count_up_to(running),
            "export_most": f"{MOST:,}",
        },
        menus=True,
    )


def _counts(request: PortalRequest, runs: RunQuerySet) -> HttpResponse:
    """Draw the numbers of Job History, which the page fetches once it stands: it waits for none."""
    narrowed = narrowing.narrow(request, runs, narrowing.choices_for(request), ignoring=["outcome"])
    outcome = request.GET.get("outcome", "")
    shown = outcome if outcome in OUTCOMES else ""
    counts = count_runs(request.user, runs, narrowed.runs, outcome=shown)
    return render(
        request,
        "jobs/run_counts.html",
        {
            # The tab of those that run has the exact number already.
            "counts": {name: counts.get(name, "") for name in OUTCOME_NAMES if name != "running"},
            "total": counts.get(outcome, ""),
        },
    )


@within_organization
@require_GET
def export(request: PortalRequest) -> HttpResponseBase:
    """Send what Job History lists, all pages of it, as a CSV file; the list says what is wrong
    with filters that are not valid. A second one at once is 429: each is long and heavy.
    """
    runs = JobRun.objects.filter(organization=request.organization)
    narrowed = narrowing.narrow(request, runs, narrowing.choices_for(request))
    if narrowed.errors:
        return redirect(f"{reverse('run-history')}?{request.GET.urlencode()}")
    turn = Turn(request.user)
    if not turn.take():
        busy = render(request, "jobs/export_busy.html", {"nav": "history"}, status=429)
        busy["Retry-After"] = str(RETRY_AFTER_S)
        return busy
    lines = export_of(turn, request.user, narrowed.runs, order=narrowing.order_of(request.GET))
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    name = f"job-history-{timezone.now():%Y-%m-%d}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _list(
    request: PortalRequest,
    runs: RunQuerySet,
    template: str,
    context: dict[str, Any],
    *,
    menus: bool = False,
) -> HttpResponse:
    """Draw a list of runs, or (``rows``, ``fresh``) only those rows that a live page asks for.

    A row that is on the page already is drawn whatever the filters say: it changed under them.
    A fresh one is drawn only when the filters let it through.
    """
    only_rows = "rows" in request.GET or "fresh" in request.GET
    choices = narrowing.choices_for(request) if menus and not only_rows else {}
    narrowed = narrowing.narrow(request, runs, choices)
    if only_rows:
        known = run_policy.rows(
            request.user, "view", runs.filter(public_id__in=ids_in(request, "rows"))
        )
        fresh = run_policy.rows(
            request.user, "view", narrowed.runs.filter(public_id__in=ids_in(request, "fresh"))
        )
        wanted = {*known.values_list("pk", flat=True), *fresh.values_list("pk", flat=True)}
        rows = waiting.told(JobRun.objects.for_rows().filter(pk__in=wanted), by=request.user)
        newer = older = ""
    else:
        order = narrowing.order_of(request.GET)
        page = page_of_runs(
            request.user,
            narrowed.runs,
            size=size_of(request),
            cursor=request.GET.get("cursor", ""),
            order=order,
        )
        rows = page.rows
        newer, older = (at_cursor(request, cursor) for cursor in (page.newer, page.older))
        context |= {
            "size": size_of(request),
            "sizes": SIZES,
            "sorts": narrowing.sorts(request.GET, order),
            "sorted_otherwise": order != NEWEST,
        }
    columns = narrowing.columns_of(request.GET)
    zones = {run.site.time_zone if run.site else "UTC" for run in rows}
    context |= {
        "runs": rows,
        "permitted": run_policy.permitted(
            request.user, ["cancel"], [run.pk for run in rows if run.status == Status.PENDING]
        ),
        "zone": zones.pop() if len(zones) == 1 else "",
        "newer": newer,
        "older": older,
        "pills": narrowed.pills,
        "filter_errors": narrowed.errors,
        "kept": narrowing.kept(request.GET, "size"),
        "kept_for_search": narrowing.kept(request.GET, "search"),
        "columns": columns,
        "shown": {one["name"] for one in columns if one["on"]},
    }
    if choices:
        context |= {
            "menus": narrowing.menus(request.GET, choices),
            "several": narrowing.several(request.GET),
            "spans": narrowing.spans(request.GET),
            "days_zone": narrowing.common_zone(choices),
            "kept_for_status": narrowing.kept(request.GET, "status", "result"),
            "kept_for_days": narrowing.kept(
                request.GET, "within", "from", "to", "started_after", "started_before"
            ),
            "kept_for_columns": narrowing.kept(request.GET, "columns"),
            "standard": narrowing.address(request.GET, ["columns"]),
        }
    return render(request, template, context)


def ids_in(request: PortalRequest, name: str) -> list[UUID]:
    """Read the run ids that a live page asks for; what is no id is left out."""
    found = []
    for text in request.GET.get(name, "").split(",")[:200]:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found


def size_of(request: PortalRequest) -> int:
    text = request.GET.get("size", "")
    return int(text) if text in {str(size) for size in SIZES} else 50


@within_organization
@require_POST
def cancel(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Take a pending run back; for its starter alone."""
    run = run_policy.get(request.user, "cancel", public_id=public_id)
    try:
        transitions.cancel(run, by=request.user)
    except Refused as refusal:
        messages.error(request, refusal.detail)
    return back(request, "run-list")


@within_organization
@require_POST
def pin(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Keep a run with all that it left, whatever its age."""
    return _act(request, public_id, retention.pin)


@within_organization
@require_POST
def unpin(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Let a run go when its time comes."""
    return _act(request, public_id, retention.unpin)


@within_organization
@require_POST
def call_off(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Let no other try of a run follow by itself."""
    return _act(request, public_id, retries.call_off)


def _act(request: PortalRequest, public_id: UUID, rule: Callable[..., object]) -> HttpResponse:
    """Do to a run that the person sees what the rule says, which knows who may."""
    run = _seen(request, public_id)
    try:
        rule(run, by=request.user)
    except Refused as refusal:
        _say(request, refusal)
    return redirect("run-detail", run.public_id)


@within_organization
@require_POST
def retry(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Start the same again as a new run, and go to it."""
    try:
        again = starts.retry(_seen(request, public_id), by=request.user)
    except Refused as refusal:
        _say(request, refusal)
        return back(request, "run-history")
    if not again.created:
        messages.info(request, f"{again.run.name} is at work already; no second run was started.")
    return redirect("run-detail", again.run.public_id)


def _seen(request: PortalRequest, public_id: UUID) -> JobRun:
    return run_policy.get(request.user, "view", JobRun.objects.for_rows(), public_id=public_id)


def _say(request: PortalRequest, refusal: Refused) -> None:
    """Say on the page what a rule refused; who may not do it at all is told so by a 403."""
    if refusal.status == 403:
        raise PermissionDenied(refusal.detail)
    messages.error(request, refusal.detail)
