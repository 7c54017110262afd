"""The schedule of a site over REST: read it, set it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from sites.access.api import ScopedViewSet
from sites.permissions import site_policy

from .. import planning
from .schedule_shapes import NO_TIMES, SiteScheduleIn, SiteScheduleOut


class SiteScheduleViewSet(ScopedViewSet):
    """One time at which all jobs of a site start that are marked for it, so many at once."""

    policy = site_policy
    grants = {"retrieve": "view", "update": "manage"}
    serializer_class = SiteScheduleOut

    @extend_schema(summary="Read the schedule of a site")
    def retrieve(self, request: Request, id: Any) -> Response:
        return Response(self.shown(planning.of_site(self.get_object())))

    @extend_schema(summary="Set the schedule of a site", request=SiteScheduleIn)
    def update(self, request: Request, id: Any) -> Response:
        planned = planning.of_site(self.get_object())
        data = self.read(SiteScheduleIn)
        for name, value in (data.pop("schedule") or NO_TIMES).items():
            setattr(planned, name, value)
        planned.at_once = data.get("at_once", planned.at_once)
        planning.save_for_site(planned)
        return Response(self.shown(planned))
