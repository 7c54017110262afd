"""The coverage report over REST: targets that are not backed up as they should be."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers

from sites.access.api import Listed, ScopedViewSet
from sites.api.fields import Named
from sites.keyset import Order, both_ways
from sites.models import Target
from sites.permissions import target_policy

from ..coverage import Gap, gaps_of
from ..filters import CoverageFilter


class CoverageOut(serializers.Serializer[Target]):
    """A target, and what is missing."""

    organization = serializers.UUIDField(source="organization.public_id")
    site = Named()
    target = Named(source="*")
    kind = serializers.ChoiceField(Target.Kind.choices)
    gap = serializers.ChoiceField(Gap.choices)
    recovery_point_h = serializers.IntegerField(
        source="objective_h",
        allow_null=True,
        help_text="How old the newest good backup may be, in hours: the target's, or its site's.",
    )
    backed_up_at = serializers.DateTimeField(
        allow_null=True, help_text="When the newest good backup that you may see began."
    )
    run = serializers.UUIDField(source="backup_id", allow_null=True, help_text="That backup.")
    jobs = Named(source="backup_jobs", many=True, help_text="The jobs in use that back it up.")


@extend_schema_view(
    list=extend_schema(
        summary="List targets that are not covered",
        description=(
            "Targets that no job in use backs up, that were never backed up well, or whose newest "
            "good backup is older than their recovery point objective. A backup is good where "
            "nothing differed or what did was accepted; those that you may see are counted."
        ),
    )
)
class CoverageViewSet(Listed, ScopedViewSet):
    """Targets that are not backed up as they should be."""

    policy = target_policy
    grants = {"list": "view"}
    orders = both_ways(Order("name", F("name"), "text"))
    filterset_class = CoverageFilter
    serializer_class = CoverageOut

    def rows(self) -> QuerySet[Any]:
        return gaps_of(self.request.user)
