"""The portal's page about places."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from ..models import Site, Target
from ..pages import PortalRequest, ask_pause, back, within_organization
from ..permissions import site_policy, target_policy
from ..places import pause_site, resume_site


@within_organization
def site_list(request: PortalRequest) -> HttpResponse:
    """List the sites of the current organization with the targets that stand there."""
    found: dict[int, tuple[Site, list[Target]]] = {
        site.pk: (site, [])
        for site in site_policy.rows(
            request.user,
            "view",
            request.organization.sites.in_use().select_related("paused_by").order_by("name"),
        )
    }
    targets = target_policy.rows(
        request.user, "view", Target.objects.filter(site__in=list(found), archived_at__isnull=True)
    ).select_related("accepted_snapshot", "credential")
    targets = targets.defer("credential__sealed")
    for target in targets.order_by("name"):
        found[target.site_id][1].append(target)
    shown = [target.pk for _, here in found.values() for target in here]
    acts = site_policy.permitted(request.user, ["manage"], found)
    return render(
        request,
        "sites/site_list.html",
        {
            "nav": "sites",
            "sites": list(found.values()),
            "permitted": target_policy.permitted(request.user, ["inspect"], shown),
            "managed": {pk for pk, allowed in acts.items() if allowed},
        },
    )


@within_organization
@require_http_methods(["GET", "POST"])
def site_pause(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Ask how long and why, then let no agent take a run at a site."""
    sites = request.organization.sites.in_use()
    site = site_policy.get(request.user, "manage", sites, public_id=public_id)
    return ask_pause(
        request,
        site,
        begin=pause_site,
        to=reverse("site-list"),
        nav="sites",
        what_waits="No agent takes a run at it until the pause is over.",
    )


@within_organization
@require_POST
def site_resume(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """End the pause of a site."""
    sites = request.organization.sites.all()
    resume_site(site_policy.get(request.user, "manage", sites, public_id=public_id))
    return back(request, "site-list")
