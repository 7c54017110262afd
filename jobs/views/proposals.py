"""The page of changes that wait for a person's word, and the word itself."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from jobs import proposals
from jobs.models import JobRun, Proposal
from jobs.permissions import proposal_policy, run_policy
from sites.models import User
from sites.pages import ON_PAGE, PortalRequest, within_organization
from sites.problems import Refused

# The side bar counts no further.
COUNTED = 100


@within_organization
@require_GET
def proposal_list(request: PortalRequest) -> HttpResponse:
    """List the open proposals that the viewer may see, the oldest first; or only their number."""
    waiting = Proposal.objects.filter(organization=request.organization, state=Proposal.State.OPEN)
    rows = proposal_policy.rows(request.user, "view", waiting)
    if "count" in request.GET:
        number = rows.order_by()[:COUNTED].count()
        may = bool(proposal_policy.branches(request.user, "decide"))
        here = request.GET["count"] == "proposals"
        return render(
            request, "jobs/proposal_link.html", {"number": number, "may": may, "here": here}
        )
    rows = rows.select_related(
        "run__snapshot", "run__base_snapshot", "target__accepted_snapshot", "site", "started_by"
    )
    page = Paginator(rows.order_by("created_at", "id"), ON_PAGE).get_page(request.GET.get("page"))
    found = [
        (one, proposals.still_compared(one.target, one.run.base_snapshot_id))
        for one in page.object_list
    ]
    zones = {one.site.time_zone for one, _ in found}
    return render(
        request,
        "jobs/proposal_list.html",
        {
            "nav": "proposals",
            "page": page,
            "proposals": found,
            "zone": zones.pop() if len(zones) == 1 else "",
            "permitted": proposal_policy.permitted(
                request.user, ["decide"], [one.pk for one, _ in found]
            ),
        },
    )


@within_organization
@require_POST
def accept(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Accept the change that a run proposes."""
    return _decide(request, public_id, proposals.accept, "is the accepted backup now")


@within_organization
@require_POST
def reject(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Reject the change that a run proposes."""
    return _decide(request, public_id, proposals.reject, "was rejected; the accepted backup stays")


def _decide(
    request: PortalRequest,
    public_id: UUID,
    rule: Callable[..., Proposal],
    done: str,
) -> HttpResponse:
    runs = JobRun.objects.select_related("target", "snapshot")
    run = run_policy.get(request.user, "decide", runs, public_id=public_id)
    by: User = request.user
    try:
        rule(run, by=by, comment=request.POST.get("comment", "").replace("\0", ""))
    except Refused as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, f"The change of {run.target} {done}.")
    return redirect("run-detail", public_id=public_id)
