"""The admin of agents, their pools and of what they can do."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import localize
from django.utils.timezone import localtime
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from sites.access.admin import Among, ScopedAdmin, ScopedForm, ScopedInline, person
from sites.access.granting import GrantingAdmin

from . import enrolment, pools
from .line import line_to_paste
from .models import (
    Agent,
    AgentPool,
    EnrolmentCode,
    Function,
    FunctionVersion,
    Queue,
    Tool,
)
from .permissions import agent_policy, function_policy, pool_policy

STATES = {
    "setting_up": ("Setting Up", "info"),
    "active": ("Active", "success"),
    "disconnected": ("Disconnected", "danger"),
    "draining": ("Draining", "warning"),
    "retired": ("Retired", "default"),
}


class CodesInline(ScopedInline):
    model = EnrolmentCode
    fields = readonly_fields = ("created_at", "created_by", "expires_at", "used_at")
    verbose_name_plural = "enrolment codes, without the code"
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[EnrolmentCode]:
        return super().get_queryset(request).select_related("created_by", "agent")


@admin.register(Agent)
class AgentAdmin(ScopedAdmin):
    policy = agent_policy
    may_change = "manage"
    may_add = ("organization", "manage")
    choices = {"site": "manage"}
    fixed = ("organization", "site")
    acts = dict.fromkeys(("new_code", "rotate", "drain", "take_again", "retire"), "manage")
    actions_detail = ("new_code", "rotate", "drain", "take_again", "retire")
    list_display = ("name", "shown_state", "site", "organization", "slots", "version", "seen_at")
    list_select_related = ("site", "organization")
    list_filter = (("site", Among), ("organization", Among))
    search_fields = ("name",)
    add_fieldsets = ((None, {"fields": ("organization", "site", "name", "slots")}),)
    fieldsets = (
        (None, {"fields": ("organization", "site", "name", "slots")}),
        (
            "The program",
            {"fields": ("shown_state", "seen_at", "version", "platform", "address", "enrolled_at")},
        ),
        ("About", {"fields": ("public_id", "created_by", "created_at", "retired_at")}),
    )
    readonly_fields = (
        "shown_state",
        "seen_at",
        "public_id",
        "version",
        "platform",
        "address",
        "created_by",
        "created_at",
        "enrolled_at",
        "retired_at",
    )
    inlines = (CodesInline,)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Agent]:
        return super().get_queryset(request).with_state()  # type: ignore[attr-defined]

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return super().get_inlines(request, obj) if obj else ()

    @display(
        description="State",
        label=dict(STATES.values()),
    )
    def shown_state(self, agent: Any) -> str:
        return STATES[agent.state][0] if hasattr(agent, "state") else "–"

    @display(description="Last sign of life", ordering="presence__seen_at")
    def seen_at(self, agent: Any) -> str:
        at = getattr(agent, "seen_at", None)
        return localize(localtime(at)) if at else "never"

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        if change:
            enrolment.change(obj, **self.changes(obj, form))
            return
        agent, code = enrolment.add_agent(
            obj.organization,
            site=obj.site,
            name=obj.name,
            slots=obj.slots,
            by=person(request),
        )
        obj.__dict__.update(agent.__dict__)
        request.enrolment_code = code  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Agent, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self.show_line(request, obj, request.enrolment_code)  # type: ignore[attr-defined]

    def show_line(self, request: HttpRequest, agent: Agent, code: str) -> HttpResponse:
        """Show the line with the code, in this one answer and never again."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": agent,
            "title": f"Set up {agent}",
            "line": line_to_paste(code),
            "back": reverse("admin:agents_agent_change", args=[agent.pk]),
        }
        return TemplateResponse(request, "admin/enrolment.html", context)

    def offers(self, name: str, obj: Any) -> bool:
        wanted = {
            "drain": not obj.draining,
            "take_again": obj.draining,
            "rotate": bool(obj.token_hash) and not obj.rotating,
        }
        return obj.retired_at is None and wanted.get(name, True)

    @action(description="New enrolment code", icon="key")
    def new_code(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Give a fresh code, to set the program up again."""
        return self.ask(
            request,
            object_id,
            "new_code",
            title="New enrolment code",
            question=lambda agent: (
                f"Make a new enrolment code for agent {agent}? Codes that were not used end now. "
                "A program that is enrolled as this agent goes on until the new code is used."
            ),
            do=lambda agent: self.show_line(
                request,
                agent,
                enrolment.new_code(agent, by=person(request)),
            ),
        )

    @action(description="Change token", icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Have the agent change its token by itself."""

        def do(agent: Agent) -> str:
            enrolment.rotate(agent)
            return f"Agent {agent} changes its token at its next sign of life."

        return self.ask(
            request,
            object_id,
            "rotate",
            title="Change token",
            question=lambda agent: (
                f"Have agent {agent} change its token? It goes on working meanwhile; the token of "
                "now ends when the new one was used. Against a stolen token, make a new enrolment "
                "code or retire the agent: those end it at once."
            ),
            do=do,
        )

    @action(description="Drain", icon="hourglass_bottom")
    def drain(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Let the agent finish what it has and take nothing new."""

        def do(agent: Agent) -> str:
            enrolment.drain(agent, on=True)
            return f"Agent {agent} finishes what it has and takes no new runs."

        return self.ask(
            request,
            object_id,
            "drain",
            title="Drain agent",
            question=lambda agent: f"Let agent {agent} finish its runs and take no new ones?",
            do=do,
        )

    @action(description="Take runs again", icon="play_arrow")
    def take_again(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """End the draining."""

        def do(agent: Agent) -> str:
            enrolment.drain(agent, on=False)
            return f"Agent {agent} takes runs again."

        return self.ask(
            request,
            object_id,
            "take_again",
            title="Take runs again",
            question=lambda agent: f"Let agent {agent} take new runs again?",
            do=do,
        )

    @action(description="Retire", icon="block", variant=ActionVariant.DANGER)
    def retire(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """End the agent and the runs that it holds."""

        def do(agent: Agent) -> str:
            enrolment.retire(agent, by=person(request))
            return f"Agent {agent} is retired."

        return self.ask(
            request,
            object_id,
            "retire",
            title="Retire agent",
            question=lambda agent: (
                f"Retire agent {agent} for good? Its token ends with its next request, "
                "and the runs that it holds end as failed."
            ),
            do=do,
            danger=True,
        )


ABOUT = ("public_id", "created_at", "archived_at")


class PoolForm(ScopedForm):
    class Meta:
        help_texts = {
            "restricted": "Its agents are chosen by those whom this pool was given to alone, "
            "and take no automatic runs."
        }

    def clean(self) -> dict[str, Any]:
        """Keep agents of another organization out."""
        data = super().clean() or {}
        organization = data.get("organization") or getattr(self.instance, "organization", None)
        for agent in data.get("agents", ()):
            if organization and agent.organization_id != organization.pk:
                raise ValidationError({"agents": f"Agent {agent} belongs to another organization."})
        return data


@admin.register(AgentPool)
class AgentPoolAdmin(GrantingAdmin):
    policy = pool_policy
    form = PoolForm
    may_change = "manage"
    may_add = ("organization", "manage")
    fixed = ("organization",)
    acts = {**GrantingAdmin.acts, "archive": "manage"}
    actions_detail = ("people_and_roles", "archive")
    roles = ((pools.CHOOSER, "May choose this pool for jobs and runs"),)
    list_display = ("name", "organization", "restricted", "archived_at")
    list_select_related = ("organization",)
    list_filter = (
        ("organization", Among),
        "restricted",
        ("archived_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name",)
    autocomplete_fields = ("agents",)
    fields = ("organization", "name", "restricted", "agents", *ABOUT)
    readonly_fields = ABOUT

    def save_model(self, request: HttpRequest, obj: AgentPool, form: Any, change: bool) -> None:
        pools.save_pool(obj, agents=list(form.cleaned_data["agents"]))

    @action(description="Archive", icon="archive", variant=ActionVariant.DANGER)
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Put the pool away."""

        def do(pool: AgentPool) -> str:
            pools.archive_pool(pool)
            return f"Pool {pool} is archived."

        return self.ask(
            request,
            object_id,
            "archive",
            title="Archive pool",
            question=lambda pool: (
                f"Archive pool {pool}? Its agents leave it and nobody can choose it any more. "
                "Runs that asked for it keep its name."
            ),
            do=do,
            danger=True,
        )


@admin.register(Function)
class FunctionAdmin(ScopedAdmin):
    policy = function_policy
    list_display = ("__str__", "tool", "organization")
    list_select_related = ("tool", "organization")
    list_filter = (("organization", Among),)
    search_fields = ("name", "tool__name")
    readonly_fields = fields = ("organization", "tool", "name", "public_id")


@admin.register(Tool)
class ToolAdmin(ScopedAdmin):
    """A tool is seen by whoever sees its functions."""

    policy = function_policy
    through = "functions"
    list_display = ("name", "organization")
    list_select_related = ("organization",)
    search_fields = ("name",)
    readonly_fields = fields = ("organization", "name")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Tool]:
        return super().get_queryset(request).distinct()


@admin.register(FunctionVersion)
class FunctionVersionAdmin(ScopedAdmin):
    policy = function_policy
    through = "function"
    organization = "function__organization"
    list_display = ("function", "version", "title", "produces", "created_at")
    list_select_related = ("function__tool",)
    list_filter = (("produces", ChoicesDropdownFilter),)
    search_fields = ("function__name", "version")
    readonly_fields = fields = (
        "function",
        "version",
        "title",
        "produces",
        "takes",
        "parameters",
        "agents",
        "created_at",
    )


@admin.register(Queue)
class QueueAdmin(ScopedAdmin):
    policy = function_policy
    through = "function"
    list_display = ("__str__", "site", "function", "version", "assignment", "agent", "pool")
    list_select_related = ("site", "function__tool", "agent", "pool")
    list_filter = (("site", Among),)
    readonly_fields = fields = (
        "organization",
        "site",
        "function",
        "version",
        "assignment",
        "agent",
        "pool",
    )
