"""The portal's pages about pools: the list, adding one, changing one, putting one away."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from sites.access import name_of
from sites.pages import PortalRequest, add_refusal, once_typed, within_organization
from sites.permissions import organization_policy
from sites.problems import Refused

from ..forms import PoolForm
from ..models import Agent, AgentPool, PoolGroupPermission, PoolUserPermission
from ..permissions import agent_policy, pool_policy
from ..pools import archive_pool, save_pool


def _pools(request: PortalRequest) -> QuerySet[AgentPool]:
    return AgentPool.objects.filter(organization=request.organization, archived_at=None)


@within_organization
@require_GET
def pool_list(request: PortalRequest) -> HttpResponse:
    """List the pools that the person may see: their agents, and whom they are for."""
    seen = agent_policy.rows(request.user, "view", Agent.objects.in_use()).order_by("name")
    pools: list[Any] = list(
        pool_policy.rows(request.user, "view", _pools(request))
        .order_by("name")
        .prefetch_related(
            Prefetch("agents", seen, to_attr="seen_agents"),
            Prefetch(
                "pooluserpermission_set",
                PoolUserPermission.objects.select_related("user").order_by("user"),
                to_attr="people",
            ),
            Prefetch(
                "poolgrouppermission_set",
                PoolGroupPermission.objects.select_related("group__team").order_by("group"),
                to_attr="groups",
            ),
        )
    )
    for pool in pools:
        given = [row.user for row in pool.people] + [row.group for row in pool.groups]
        pool.choosers = [name_of(who) for who in given]
    ids = [pool.pk for pool in pools]
    return render(
        request,
        "agents/pool_list.html",
        {
            "nav": "agents",
            "tab": "pools",
            "pools": pools,
            "may_add": organization_policy.allows(request.user, "manage", request.organization),
            "permitted": pool_policy.permitted(request.user, ["manage", "choose"], ids),
        },
    )


@within_organization
@require_http_methods(["GET", "POST"])
def pool_add(request: PortalRequest) -> HttpResponse:
    """Make a pool out of some agents."""
    organization = organization_policy.get(request.user, "manage", pk=request.organization.pk)
    return _form(request, AgentPool(organization=organization), adding=True)


@within_organization
@require_http_methods(["GET", "POST"])
def pool_edit(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Change a pool's name, its agents, and who may choose it."""
    pool = pool_policy.get(request.user, "manage", _pools(request), public_id=public_id)
    return _form(request, pool)


def _form(request: PortalRequest, pool: AgentPool, *, adding: bool = False) -> HttpResponse:
    known: dict[str, Any] = {"user": request.user, "organization": request.organization}
    if not adding:
        known["pool"] = pool
    form = PoolForm(request.POST if request.method == "POST" else None, **known)
    name = pool.name
    if request.method == "POST" and form.is_valid():
        try:
            save_pool(pool, **form.said())
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            messages.info(request, f"Pool “{pool}” is {'made' if adding else 'changed'}.")
            return redirect("pool-list")
    return render(
        request,
        "agents/pool_form.html",
        {"nav": "agents", "form": form, "pool": pool, "name": name, "adding": adding},
        status=422 if form.errors else 200,
    )


@within_organization
@require_http_methods(["GET", "POST"])
def pool_archive(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Put a pool away, once its name was typed."""
    pool = pool_policy.get(request.user, "manage", _pools(request), public_id=public_id)
    refused = ""
    if request.method == "POST":
        refused = once_typed(request, pool.name, lambda: archive_pool(pool))
        if not refused:
            messages.info(request, f"Pool “{pool}” is archived.")
            return redirect("pool-list")
    return render(
        request,
        "agents/pool_archive.html",
        {"nav": "agents", "pool": pool, "refused": refused},
        status=422 if refused else 200,
    )
