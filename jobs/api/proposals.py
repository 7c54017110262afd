"""Proposed changes over REST: the list of those that wait; a decision is an action of the run."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view

from sites.access.api import Listed, ScopedViewSet
from sites.keyset import Order, both_ways

from ..filters import ProposalFilter
from ..models import Proposal
from ..permissions import proposal_policy
from .run_shapes import ListedProposalOut


@extend_schema_view(
    list=extend_schema(
        summary="List proposed changes",
        description="Without `state` those that are open. Decide with `/runs/{id}/accept` and"
        " `/runs/{id}/reject`.",
    )
)
class ProposalViewSet(Listed, ScopedViewSet):
    """Changes that backups found and that wait, or have waited, for a person's word."""

    policy = proposal_policy
    grants = {"list": "view"}
    orders = both_ways(Order("created", F("created_at"), "time"), newest_first=True)
    filterset_class = ProposalFilter
    serializer_class = ListedProposalOut

    def rows(self) -> QuerySet[Proposal]:
        return Proposal.objects.select_related(
            "run__snapshot",
            "organization",
            "site",
            "target",
            "started_by",
            "decided_by",
            "superseded_by__run",
        )

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        asked = "state" in self.request.GET
        return rows if asked else rows.filter(state=Proposal.State.OPEN)
