"""The admin of pools: whose agents, and who may choose them."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from unfold.decorators import action
from unfold.enums import ActionVariant

from sites.access.admin import Among, ScopedForm
from sites.access.granting import GrantingAdmin

from .. import pools
from ..models import AgentPool
from ..permissions import pool_policy

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
