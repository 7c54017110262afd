"""The admin of agents: adding one, its buttons, its end."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import localize
from django.utils.timezone import localtime
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from sites.access.admin import Among, ScopedInline, person
from sites.access.bulk import ask_each
from sites.access.pausing_admin import PausingAdmin

from .. import enrolment
from ..line import line_to_paste
from ..models import (
    Agent,
    EnrolmentCode,
)
from ..permissions import agent_policy

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
class AgentAdmin(PausingAdmin):
    policy = agent_policy
    may_change = "manage"
    may_add = ("organization", "manage")
    choices = {"site": "manage"}
    fixed = ("organization", "site")
    begin, end = enrolment.pause, enrolment.resume
    acts = dict.fromkeys(
        ("new_code", "rotate", "drain", "take_again", "pause", "resume", "retire"), "manage"
    )
    actions_detail = ("new_code", "rotate", "drain", "take_again", "pause", "resume", "retire")
    actions = ("rotate_each", "pause_each", "retire_each")
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
        return super().offers(name, obj) and wanted.get(name, True)

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

    @action(description="Change token")
    def rotate_each(self, request: HttpRequest, queryset: Any) -> Any:
        """Have several agents change their tokens by themselves."""

        def do(agent: Agent) -> str:
            enrolment.rotate(agent)
            return f"Agent {agent} changes its token at its next sign of life."

        return ask_each(
            self,
            request,
            queryset,
            "rotate",
            title="Change tokens",
            question="Have these agents change their tokens? They go on working meanwhile.",
            do=do,
        )

    @action(description="Retire")
    def retire_each(self, request: HttpRequest, queryset: Any) -> Any:
        """End several agents and the runs that they hold."""

        def do(agent: Agent) -> str:
            enrolment.retire(agent, by=person(request))
            return f"Agent {agent} is retired."

        return ask_each(
            self,
            request,
            queryset,
            "retire",
            title="Retire agents",
            question="Retire these agents for good? Their tokens end with their next request, and "
            "the runs that they hold end as failed.",
            do=do,
            danger=True,
        )
