"""The portal's page about places."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from ..models import Site, Target
from ..pages import PortalRequest, within_organization
from ..permissions import site_policy, target_policy


@within_organization
def site_list(request: PortalRequest) -> HttpResponse:
    """List the sites of the current organization with the targets that stand there."""
    found: dict[int, tuple[Site, list[Target]]] = {
        site.pk: (site, [])
        for site in site_policy.rows(
            request.user,
            "view",
            request.organization.sites.filter(archived_at__isnull=True).order_by("name"),
        )
    }
    targets = target_policy.rows(
        request.user, "view", Target.objects.filter(site__in=list(found), archived_at__isnull=True)
    ).select_related("accepted_snapshot", "credential")
    targets = targets.defer("credential__sealed")
    for target in targets.order_by("name"):
        found[target.site_id][1].append(target)
    shown = [target.pk for _, here in found.values() for target in here]
    return render(
        request,
        "sites/site_list.html",
        {
            "nav": "sites",
            "sites": list(found.values()),
            "permitted": target_policy.permitted(request.user, ["inspect"], shown),
        },
    )
