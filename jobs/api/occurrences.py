"""Planned starts over REST: the ledger of what should have happened."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view

from sites.access.api import Listed, ScopedViewSet
from sites.keyset import Order, both_ways

from ..filters import OccurrenceFilter
from ..models import Occurrence
from ..permissions import occurrence_policy
from .schedule_shapes import OccurrenceOut


@extend_schema_view(
    list=extend_schema(
        summary="List planned starts",
        description="Every start that a schedule should have made: started, skipped or missed.",
    )
)
class OccurrenceViewSet(Listed, ScopedViewSet):
    """Planned starts of saved jobs, the newest first."""

    policy = occurrence_policy
    grants = {"list": "view"}
    orders = both_ways(Order("planned", F("planned_at"), "time"), newest_first=True)
    filterset_class = OccurrenceFilter
    serializer_class = OccurrenceOut

    def rows(self) -> QuerySet[Any]:
        return Occurrence.objects.select_related("organization", "site", "target", "job", "run")
