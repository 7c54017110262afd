"""The admin of proposed changes: to be read; a decision goes through the rule, with its reason."""

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from sites.access.admin import Among, Between, ScopedAdmin, person

from .. import proposals
from ..models import Proposal
from ..permissions import proposal_policy

COLORS = {"Open": "warning", "Accepted": "success", "Rejected": "danger", "Superseded": "default"}


@admin.register(Proposal)
class ProposalAdmin(ScopedAdmin):
    policy = proposal_policy
    acts = {"accept": "decide", "reject": "decide"}
    actions_detail = ("accept", "reject")
    list_display = ("target", "run", "shown_state", "site", "created_at", "decided_by")
    list_select_related = ("target", "run", "site", "decided_by")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("site", Among),
        ("created_at", Between),
    )
    search_fields = ("target__name",)
    ordering = ("-created_at", "-id")
    sortable_by = ("created_at",)
    readonly_fields = fields = (
        "run",
        "target",
        "site",
        "organization",
        "started_by",
        "shown_state",
        "created_at",
        "decided_at",
        "decided_by",
        "comment",
        "superseded_by",
    )

    @display(description="State", label=COLORS)
    def shown_state(self, proposal: Proposal) -> str:
        return proposal.get_state_display()

    def offers(self, name: str, obj: Proposal) -> bool:
        return obj.state == Proposal.State.OPEN

    @action(description="Accept", icon="check", variant=ActionVariant.PRIMARY)
    def accept(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Make what the backup found the accepted one."""
        return self._decide(request, object_id, "accept", proposals.accept)

    @action(description="Reject", icon="close", variant=ActionVariant.DANGER)
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Record that the change is not accepted."""
        return self._decide(request, object_id, "reject", proposals.reject)

    def _decide(
        self, request: HttpRequest, object_id: str, name: str, rule: Callable[..., Proposal]
    ) -> HttpResponseBase:
        def do(proposal: Proposal) -> str:
            comment = request.POST.get("comment", "").replace("\0", "")
            made = rule(proposal.run, by=person(request), comment=comment)
            return f"The change of {proposal.target} is {made.state}."

        answer = self.ask(
            request,
            object_id,
            name,
            title=f"{name.capitalize()} change",
            question=lambda proposal: (
                f"{name.capitalize()} what run {proposal.run} found on {proposal.target}?"
            ),
            do=do,
            danger=name == "reject",
        )
        if isinstance(answer, TemplateResponse):
            answer.template_name = "admin/decide.html"
        return answer
