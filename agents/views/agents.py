"""The portal's pages about agents: the list, adding one, and what became of it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import (
    require_GET,
    require_http_methods,
    require_POST,
    require_safe,
)

from sites.pages import PortalRequest, ask_pause, back, once_typed, within_organization
from sites.permissions import manages_somewhere
from sites.problems import Refused

from .. import download, enrolment, presence
from ..forms import AgentForm
from ..line import line_to_paste, line_with_download
from ..models import Agent, AgentPool, EnrolmentCode, FunctionVersion
from ..permissions import agent_policy, pool_policy
from ..querysets import AgentQuerySet


def _agents(request: PortalRequest) -> AgentQuerySet:
    return (
        Agent.objects.in_use()
        .filter(organization=request.organization)
        .with_state()
        .select_related("organization", "site", "presence")
        .order_by("name")
    )


def _page(request: PortalRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """Draw the list with whatever stands beside it."""
    agents = list(
        agent_policy.rows(request.user, "view", _agents(request)).prefetch_related(
            Prefetch("functions", FunctionVersion.objects.select_related("function__tool")),
            Prefetch(
                "pools", pool_policy.rows(request.user, "view", AgentPool.objects.order_by("name"))
            ),
        )
    )
    for agent in agents:
        agent.tools = tools_of(agent)
    return render(
        request,
        "agents/agent_list.html",
        {
            "nav": "agents",
            "agents": agents,
            "days": presence.last_day(agents),
            "active": sum(agent.state == "active" for agent in agents),
            "may_add": manages_somewhere(request.user, request.organization),
            "permitted": agent_policy.permitted(
                request.user, ["manage"], [agent.pk for agent in agents]
            ),
            "tab": "agents",
        }
        | context,
        status=status,
    )


def tools_of(agent: Agent) -> list[str]:
    """Name the tools that an agent advertises, each once."""
    return sorted({version.function.tool.name for version in agent.functions.all()})


@within_organization
@require_GET
def agent_list(request: PortalRequest) -> HttpResponse:
    """List the agents that the person may see, with state, site, slots and tools."""
    return _page(request, {})


@within_organization
@require_http_methods(["GET", "POST"])
def agent_add(request: PortalRequest) -> HttpResponse:
    """Name a new agent; the line to paste is on the page that follows, and only there."""
    if not manages_somewhere(request.user, request.organization):
        raise PermissionDenied(
            "Adding an agent needs the Maintainer role at its site, or an administrator."
        )
    form = AgentForm(
        request.POST if request.method == "POST" else None,
        user=request.user,
        organization=request.organization,
    )
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            agent, code = enrolment.add_agent(
                request.organization,
                name=data["name"],
                by=request.user,
                site=data["site"],
                slots=data["slots"],
            )
        except ValidationError as error:
            for name, texts in error.message_dict.items():
                if name == "__all__":
                    name, texts = "name", [f"An agent named “{data['name']}” exists already."]
                form.add_error(name if name in form.fields else None, list(texts))
        else:
            _keep(request, agent, code)
            return _to_setup(agent)
    return _page(request, {"form": form, "adding": True}, status=422 if form.errors else 200)


def _to_setup(agent: Agent) -> HttpResponse:
    """Go to the agent's page as the last steps of adding it."""
    return redirect(reverse("agent-detail", args=[agent.public_id]) + "?setup=1")


def _keep(request: PortalRequest, agent: Agent, code: str) -> None:
    """Keep the code for the one page that shows it; the database has only its hash."""
    request.session["enrolment"] = [str(agent.public_id), code]


@require_safe
def agent_download(request: HttpRequest) -> HttpResponse:
    """Hand out the agent in one file, to anybody: a machine fetches it before it is enrolled."""
    try:
        made = download.agent_file()
    except download.CannotBuild as lack:
        words = f"This portal cannot hand out the agent: {lack}\n"
        return HttpResponse(words, status=503, content_type="text/plain; charset=utf-8")
    etag = f'"{made.sha256}"'
    if request.headers.get("If-None-Match") == etag:
        return HttpResponseNotModified(headers={"ETag": etag})
    return HttpResponse(
        made.data,
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{download.NAME}"',
            "ETag": etag,
            "Cache-Control": "public, max-age=300",
        },
    )


@within_organization
@require_GET
def agent_detail(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Show one agent beside the list: how its set-up goes, or what it is and can do."""
    agent = agent_policy.get(request.user, "view", _agents(request), public_id=public_id)
    agent.tools = tools_of(agent)
    may_manage = agent_policy.allows(request.user, "manage", agent)
    line = download_line = ""
    kept = request.session.get("enrolment")
    live = request.headers.get("X-Live") == "1"
    if kept and kept[0] == str(agent.public_id) and may_manage and not live:
        line, download_line = line_to_paste(kept[1]), line_with_download(kept[1])
        del request.session["enrolment"]
    code = EnrolmentCode.objects.filter(agent=agent).order_by("-created_at", "-id").first()
    now = timezone.now()
    return _page(
        request,
        {
            "agent": agent,
            "may_manage": may_manage,
            "line": line,
            "download_line": download_line,
            "setup": agent.state == "setting_up" or request.GET.get("setup") == "1",
            "code": code,
            "code_open": code is not None and code.used_at is None and code.expires_at > now,
            "code_expired": code is not None and code.used_at is None and code.expires_at <= now,
        },
    )


@within_organization
@require_POST
def agent_code(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Give an agent a fresh line to paste; an earlier one that was not used ends."""
    agent = agent_policy.get(request.user, "manage", _agents(request), public_id=public_id)
    try:
        _keep(request, agent, enrolment.new_code(agent, by=request.user))
    except Refused as refusal:
        messages.error(request, refusal.detail)
    return _to_setup(agent)


@within_organization
@require_POST
def agent_rotate(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Have an agent change its token, which it does by itself and without a gap."""
    agent = agent_policy.get(request.user, "manage", _agents(request), public_id=public_id)
    enrolment.rotate(agent)
    messages.info(request, f"{agent} changes its token at its next sign of life.")
    return back(request, "agent-list")


@within_organization
@require_POST
def agent_drain(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Let an agent finish what it has and take nothing new, or take runs again."""
    agent = agent_policy.get(request.user, "manage", _agents(request), public_id=public_id)
    enrolment.drain(agent, on=request.POST.get("drain") == "1")
    return back(request, "agent-list")


@within_organization
@require_http_methods(["GET", "POST"])
def agent_pause(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Ask how long and why, then let an agent take nothing new."""
    agent = agent_policy.get(request.user, "manage", _agents(request), public_id=public_id)
    return ask_pause(
        request,
        agent,
        begin=enrolment.pause,
        to=reverse("agent-detail", args=[agent.public_id]),
        nav="agents",
        what_waits="It finishes what it has and takes no new run until the pause is over.",
    )


@within_organization
@require_POST
def agent_resume(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """End the pause of an agent."""
    agent = agent_policy.get(request.user, "manage", _agents(request), public_id=public_id)
    enrolment.resume(agent)
    return back(request, "agent-list")


@within_organization
@require_http_methods(["GET", "POST"])
def agent_retire(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """End an agent for good, once its name was typed."""
    agent = agent_policy.get(request.user, "manage", _agents(request), public_id=public_id)
    refused = ""
    if request.method == "POST":
        refused = once_typed(request, agent.name, lambda: enrolment.retire(agent, by=request.user))
        if not refused:
            messages.info(request, f"Agent “{agent}” is retired.")
            return redirect("agent-list")
    return render(
        request,
        "agents/agent_retire.html",
        {"nav": "agents", "agent": agent, "agents": [agent], "refused": refused},
        status=422 if refused else 200,
    )
