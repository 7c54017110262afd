"""The coverage report: which targets are not backed up as they should be, and what mends it."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from jobs import coverage as gaps
from jobs.coverage import Gap
from jobs.filters import CoverageFilter
from jobs.permissions import job_policy
from jobs.views import narrowing
from jobs.views.runs import SIZES, size_of
from sites.export import MOST
from sites.pages import PortalRequest, within_organization
from sites.permissions import target_policy

MENUS = {"site": "Site"}
SAYS = {"site": "Site is", "kind": "Kind is"}
TABS = {Gap.NO_JOB: "No job", Gap.NEVER: "Never backed up", Gap.OVERDUE: "Too long ago"}


@within_organization
@require_GET
def coverage(request: PortalRequest) -> HttpResponse:
    """List the targets that the person may see of which something is missing, each with the act
    that mends it.
    """
    choices = narrowing.choices_for(request, MENUS)
    params = request.GET.copy()
    gap = params.pop("gap", [""])[-1]
    gap = gap if gap in TABS else ""
    every: Any = gaps.targets_of(request.user).filter(organization=request.organization)
    every = target_policy.rows(request.user, "view", every)
    filters = CoverageFilter(params, queryset=every, request=request)
    errors = narrowing.errors_of(filters)
    counted = (every.none() if errors else filters.qs).order_by().values_list("gap")
    # Of each target once: as a sum in the database its conditions were worked out for each sum.
    counts = dict(counted.annotate(number=Count("pk")))
    total = sum(counts.values())
    missing = total - counts.get("", 0)
    rows: Any = gaps.gaps_of(request.user, request.organization)
    rows = target_policy.rows(request.user, "view", rows)
    found = CoverageFilter(params, queryset=rows, request=request).qs if not errors else rows.none()
    if gap:
        found = found.filter(gap=gap)
    pages = Paginator(found.order_by("site__name", "name", "pk"), size_of(request))
    pages.count = counts.get(gap, 0) if gap else missing
    page = pages.get_page(request.GET.get("page"))
    targets = list(page.object_list)
    jobs = [job.pk for target in targets for job in target.backup_jobs[:1]]
    return render(
        request,
        "jobs/coverage.html",
        {
            "nav": "sites",
            "page": page,
            "targets": targets,
            "gap": gap,
            "tabs": [(value, words, counts.get(value, 0)) for value, words in TABS.items()],
            "total": total,
            "missing": missing,
            "covered": total - missing,
            "may_add": target_policy.permitted(
                request.user, ["create_job"], [target.pk for target in targets]
            ),
            "permitted": job_policy.permitted(request.user, ["start"], jobs),
            "menus": narrowing.menus(request.GET, choices, MENUS),
            "pills": narrowing.pills(request.GET, narrowing.names_in(filters), SAYS, {}),
            "filter_errors": errors,
            "kept": narrowing.kept(request.GET, "size"),
            "size": size_of(request),
            "sizes": SIZES,
            "export": _export(request, gap),
            "export_most": f"{MOST:,}",
        },
    )


def _export(request: PortalRequest, gap: str) -> str:
    """Give the address at which the API sends the same list as CSV."""
    sent = QueryDict(mutable=True)
    for name in ("site", "kind"):
        if values := [value for value in request.GET.getlist(name) if value]:
            sent.setlist(name, values)
    if gap:
        sent["gap"] = gap
    sent["organization"] = str(request.organization.public_id)
    sent["format"] = "csv"
    return f"{reverse('api-coverage-list')}?{sent.urlencode()}"
