"""Saved jobs over REST, and Backup Now."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from sites.access.api import Listed, Retrieved
from sites.api.authentication import person
from sites.api.idempotent import HEADER, answer_once
from sites.api.pauses import Pausing
from sites.keyset import Order, both_ways
from sites.masking import restored
from sites.permissions import target_policy
from sites.problems import Refused

from .. import definitions, planning, starts
from ..filters import JobFilter
from ..inputs import keep
from ..models import Job, RunInput
from ..permissions import job_policy
from .job_shapes import JobChanges, JobDetailOut, JobIn, JobOut, StartIn
from .run_shapes import RunDetailOut
from .runs import AT_WORK, told
from .schedule_shapes import SchedulePreviewIn, SchedulePreviewOut


@extend_schema_view(
    list=extend_schema(summary="List saved jobs"),
    retrieve=extend_schema(summary="Read a saved job"),
    create=extend_schema(summary="Save a new job", request=JobIn, responses={201: JobDetailOut}),
    partial_update=extend_schema(summary="Change a saved job", request=JobChanges),
    destroy=extend_schema(summary="Archive a saved job", responses={204: None}),
    pause=extend_schema(summary="Pause a saved job: its runs wait"),
    resume=extend_schema(summary="End the pause of a saved job"),
)
class JobViewSet(Listed, Retrieved, Pausing):
    """Saved definitions: a function on a target, with parameters and limits."""

    policy = job_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the target
        "create": "view",
        "partial_update": "edit",
        "destroy": "edit",
        "run": "start",
        "pause": "edit",
        "resume": "edit",
        # asked of the site
        "preview": "view",
    }
    begin, end = definitions.pause, definitions.resume
    orders = both_ways(Order("name", F("name"), "text"), Order("created", F("created_at"), "time"))
    filterset_class = JobFilter
    serializer_class: type[BaseSerializer[Any]] = JobOut

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return JobOut if self.action == "list" else JobDetailOut

    def rows(self) -> QuerySet[Job]:
        return Job.objects.select_related(
            "organization",
            "site__schedule",
            "target__site",
            "function__tool",
            "agent",
            "pool",
            "owner",
            "paused_by",
        ).prefetch_related("function__versions")

    def get_queryset(self) -> QuerySet[Job]:
        rows = super().get_queryset()
        asked = self.action != "list" or "archived" in self.request.GET
        return rows if asked else rows.filter(archived_at=None)

    def create(self, request: Request) -> Response:
        data = self.read(JobIn)
        target = target_policy.get(request.user, "create_job", pk=data["target"].pk)
        data["parameters"] = _parameters(data.get("parameters", {}), {})
        job = definitions.save(
            Job(owner=person(request), **data | {"target": target}), by=person(request)
        )
        return Response(self.shown(job), status=201)

    def partial_update(self, request: Request, id: Any) -> Response:
        job = self.get_object()
        data = self.read(JobChanges, partial=True)
        if "parameters" in data:
            data["parameters"] = _parameters(data["parameters"], job.parameters)
        for name, value in data.items():
            setattr(job, name, value)
        return Response(self.shown(definitions.save(job, by=person(request))))

    @extend_schema(
        summary="Preview a schedule: its next five starts",
        request=SchedulePreviewIn,
        responses={200: SchedulePreviewOut},
    )
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        data = self.read(SchedulePreviewIn)
        planned = Job(site=data["site"], **data["schedule"])
        if job := data.get("job"):
            planned.public_id, planned.spread_s = job.public_id, job.spread_s
        return Response(SchedulePreviewOut(planning.preview(planned)).data)

    def destroy(self, request: Request, id: Any) -> Response:
        definitions.archive(self.get_object(), by=person(request))
        return Response(status=204)

    @extend_schema(
        summary="Run a saved job now (Backup Now)",
        request=StartIn,
        parameters=[HEADER],
        responses={201: RunDetailOut, 200: AT_WORK},
    )
    @action(detail=True, methods=["post"])
    def run(self, request: Request, id: Any) -> Response:
        job: Job = self.get_object()
        data = self.read(StartIn)
        if data.get("parameters") is not None:
            data["parameters"] = _parameters(data["parameters"], job.parameters)

        inputs: list[RunInput] = []

        def close() -> None:
            inputs[:] = keep(
                data.get("inputs", ()),
                by=person(request),
                organization=job.organization,
                function=job.function,
                version=job.version,
            )

        def start() -> tuple[int, dict[str, Any]]:
            started = starts.start_run(
                job, by=person(request), parameters=data.get("parameters"), inputs=inputs
            )
            return 201 if started.created else 200, told(started.run, request)

        return answer_once(request, start, before=close)


def _parameters(sent: dict[str, Any], stored: dict[str, Any]) -> Any:
    """Put stored secrets back where the sent parameters say that they are hidden."""
    try:
        return restored(sent, stored)
    except ValueError as error:
        errors = {"parameters": [str(error)]}
        raise Refused("invalid", str(error), status=422, errors=errors) from None
