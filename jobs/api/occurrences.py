"""Planned starts over REST: the ledger of what should have happened."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request

from sites.access.api import ScopedViewSet
from sites.api import streams
from sites.keyset import Order, both_ways

from ..filters import OccurrenceFilter
from ..models import Occurrence
from ..permissions import occurrence_policy
from .schedule_shapes import OccurrenceOut


@extend_schema_view(
    list=extend_schema(
        summary="List planned starts",
        description="Every start that a schedule should have made: started, skipped or missed; and"
        " of those that were started, whether the run never began.",
    )
)
class OccurrenceViewSet(ScopedViewSet):
    """Planned starts of saved jobs, the newest first."""

    policy = occurrence_policy
    grants = {"list": "view"}
    orders = both_ways(Order("planned", F("planned_at"), "time"), newest_first=True)
    filterset_class = OccurrenceFilter
    serializer_class = OccurrenceOut

    def list(self, request: Request) -> HttpResponseBase:
        # Not `get_queryset`: each branch of what the person may see has an index.
        return self.united(
            streams.Rows(
                self.filter_queryset(Occurrence.objects.all()),
                self.get_serializer(),
                lambda page: self.shown(page, many=True),
                branches=occurrence_policy.branches(request.user, "view"),
                fetch=self.rows().in_bulk,
            )
        )

    def rows(self) -> QuerySet[Any]:
        joined = ("organization", "site", "target", "job", "run")
        # Of jobs and runs no more than what names them: they may be long.
        named = ("public_id", "name")
        of_job, of_run = (f"job__{name}" for name in named), ("run__public_id", "run__occurrence")
        own = (field.name for field in Occurrence._meta.concrete_fields)
        places = (f"{place}__{name}" for place in joined[:3] for name in named)
        return Occurrence.objects.select_related(*joined).only(*own, *places, *of_job, *of_run)
