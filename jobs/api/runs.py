"""Runs over REST: lists, one run with what it left, starting, cancelling, retrying."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, prefetch_related_objects
from django.http import Http404
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from sites.access.api import Retrieved, ScopedViewSet
from sites.api import streams
from sites.api.authentication import person
from sites.api.diffs import DiffOut, DiffQuery, diff_of
from sites.api.downloads import DOWNLOAD, download_stored
from sites.api.fields import query_of
from sites.api.idempotent import HEADER, answer_once
from sites.api.pages import PARAMETERS, refuse_unknown
from sites.keyset import Order, both_ways
from sites.models import Target
from sites.permissions import target_policy
from sites.problems import Refused

from .. import proposals, retention, retries, starts, transitions, waiting
from ..evidence import log_of
from ..filters import RunFilter
from ..inputs import keep
from ..models import JobRun, RunInput
from ..pages import ORDERS
from ..permissions import run_policy
from .run_shapes import (
    ConnectionJobOut,
    DecisionIn,
    LateReportOut,
    LogOut,
    LogQuery,
    RecordOut,
    RunDetailOut,
    RunFileOut,
    RunIn,
    RunInputOut,
    RunOut,
    TransitionOut,
)

# What the answer about one run shows besides a row of the list.
DETAILS = ("job__site", "retry_of", "proposal__decided_by", "proposal__superseded_by__run")
# What starting a saved job answers while it has an active run.
AT_WORK = OpenApiResponse(RunDetailOut, "The run that is at work already; nothing was started.")
_BY_ID = {"id": Order("id", F("pk"), "number")}
_BY_SEQUENCE = both_ways(Order("sequence", F("sequence"), "number"))
_OF_FILE = OpenApiParameter("file", OpenApiTypes.UUID, OpenApiParameter.PATH)


def told(run: JobRun, request: Request) -> dict[str, Any]:
    """Tell one run as its own address does, to the person who asks."""
    fresh = JobRun.objects.for_rows().select_related(*DETAILS).get(pk=run.pk)
    shown: Any = RunDetailOut(fresh, context={"request": request})
    return dict(shown.data)


@extend_schema_view(
    retrieve=extend_schema(summary="Read a run", responses=RunDetailOut),
)
class RunViewSet(Retrieved, ScopedViewSet):
    """Executions: the `job_id` of the systems that Yardmaster speaks with is a run's id."""

    policy = run_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the target
        "create": "view",
        "cancel": "cancel",
        "accept": "decide",
        "reject": "decide",
        # of a saved job by whoever may start it, of an ad hoc run by its starter: the rule asks
        "retry": "view",
        "call_off": "view",
        # of a saved job by whoever may edit it, of an ad hoc run who may decide: the rule asks
        "pin": "view",
        "unpin": "view",
        "transitions": "view",
        "log": "view",
        "inputs": "inputs",
        "input_content": "inputs",
        "files": "view",
        "file_content": "view",
        "records": "view",
        "late_reports": "view",
        "diff": "view",
    }
    orders = ORDERS
    nested = {
        "transitions": _BY_SEQUENCE,
        "inputs": _BY_ID,
        "files": _BY_ID,
        "records": _BY_SEQUENCE,
        "late_reports": _BY_ID,
    }
    # What a run was given leaves by no file.
    paged_only = frozenset({"inputs"})
    filterset_class = RunFilter
    serializer_class: type[BaseSerializer[Any]] = RunOut

    def rows(self) -> QuerySet[JobRun]:
        runs: QuerySet[JobRun] = JobRun.objects.for_rows().select_related(*DETAILS)
        return runs

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return RunOut if self.action == "list" else RunDetailOut

    @extend_schema(summary="List runs", responses=RunOut(many=True))
    def list(self, request: Request) -> HttpResponseBase:
        # Not `get_queryset`: the page unites the branches of what the person may see.
        narrowed = self.filter_queryset(JobRun.objects.all())
        return _answer_page(self, narrowed, RunOut, waits=True)

    @extend_schema(
        summary="Run a function on a target, without a saved job",
        request=RunIn,
        parameters=[HEADER],
        responses={201: RunDetailOut},
    )
    def create(self, request: Request) -> Response:
        data = self.read(RunIn)
        target = target_policy.get(request.user, "create_job", pk=data.pop("target").pk)
        function = data.pop("function")
        if function.organization_id != target.organization_id:
            raise ValidationError({"function": ["No such function."]})
        if target.archived_at is not None:
            raise Refused("archived", f"Target “{target}” is archived; nothing runs on it.")
        given = data.pop("inputs", ())

        inputs: list[RunInput] = []

        def close() -> None:
            inputs[:] = keep(
                given,
                by=person(request),
                organization=target.organization,
                function=function,
                version=data.get("version", ""),
            )

        def start() -> tuple[int, dict[str, Any]]:
            run = starts.start_function(target, function, by=person(request), inputs=inputs, **data)
            return 201, told(run, request)

        return answer_once(request, start, before=close)

    @extend_schema(
        summary="Cancel a pending run",
        description="For its starter alone, and only while no agent has it.",
        request=None,
        responses=RunDetailOut,
    )
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, id: Any) -> Response:
        return self._act(request, transitions.cancel)

    @extend_schema(
        summary="Accept the change that a run proposes",
        description="Its snapshot becomes the accepted one. 409 where another backup was accepted"
        " since, or someone has decided already.",
        request=DecisionIn,
        responses=RunDetailOut,
    )
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, id: Any) -> Response:
        return self._act(request, proposals.accept, DecisionIn)

    @extend_schema(
        summary="Reject the change that a run proposes",
        description="The accepted snapshot stays; the decision is kept.",
        request=DecisionIn,
        responses=RunDetailOut,
    )
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, id: Any) -> Response:
        return self._act(request, proposals.reject, DecisionIn)

    @extend_schema(
        summary="Start the same again as a new run",
        request=None,
        parameters=[HEADER],
        responses={201: RunDetailOut, 200: AT_WORK},
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, id: Any) -> Response:
        run = self.get_object()

        def start() -> tuple[int, dict[str, Any]]:
            started = starts.retry(run, by=person(request))
            return 201 if started.created else 200, told(started.run, request)

        return answer_once(request, start)

    @extend_schema(
        summary="Let no other try of a run follow by itself",
        description="For who may retry it. 409 `no_retry` where none waits.",
        request=None,
        responses=RunDetailOut,
    )
    @action(detail=True, methods=["post"], url_path="call-off")
    def call_off(self, request: Request, id: Any) -> Response:
        return self._act(request, retries.call_off)

    @extend_schema(
        summary="Keep a run with all that it left, whatever its age",
        description="For who may edit its job; of a run without one who may accept its change.",
        request=None,
        responses=RunDetailOut,
    )
    @action(detail=True, methods=["post"])
    def pin(self, request: Request, id: Any) -> Response:
        return self._act(request, retention.pin)

    @extend_schema(
        summary="Let a run go when its time comes",
        description="For who may keep it.",
        request=None,
        responses=RunDetailOut,
    )
    @action(detail=True, methods=["post"])
    def unpin(self, request: Request, id: Any) -> Response:
        return self._act(request, retention.unpin)

    def _act(
        self,
        request: Request,
        rule: Callable[..., object],
        shape: type[BaseSerializer[Any]] | None = None,
    ) -> Response:
        """Do to the run what the rule says; it, or the policy of the action, knows who may.

        What is sent in this shape is read after that: who may not see the run learns nothing.
        """
        run = self.get_object()
        rule(run, by=person(request), **(self.read(shape) if shape else {}))
        return Response(told(run, request))

    @extend_schema(
        summary="List a run's status changes", filters=False, responses=TransitionOut(many=True)
    )
    @action(detail=True)
    def transitions(self, request: Request, id: Any) -> HttpResponseBase:
        rows = self.get_object().transitions.select_related("user", "agent")
        return self.page_of(rows, TransitionOut)

    @extend_schema(
        summary="Read a run's log from an offset", parameters=[LogQuery], responses=LogOut
    )
    @action(detail=True)
    def log(self, request: Request, id: Any) -> Response:
        run = self.get_object()
        offset = query_of(request, LogQuery)["offset"]
        text, following = log_of(run, offset=offset)
        return Response({"text": text, "next_offset": following, "length": run.log_length})

    @extend_schema(
        summary="List a run's inputs; for its starter alone",
        filters=False,
        responses=RunInputOut(many=True),
    )
    @action(detail=True)
    def inputs(self, request: Request, id: Any) -> HttpResponseBase:
        return self.page_of(self.get_object().inputs.all(), RunInputOut)

    @extend_schema(
        summary="Download an input; for the run's starter alone",
        parameters=[_OF_FILE],
        responses=DOWNLOAD,
    )
    @action(detail=True, url_path="inputs/<uuid:file>/content")
    def input_content(self, request: Request, id: Any, file: UUID) -> HttpResponseBase:
        return _download(request, self.get_object().inputs, file)

    @extend_schema(
        summary="List the files that a run left", filters=False, responses=RunFileOut(many=True)
    )
    @action(detail=True)
    def files(self, request: Request, id: Any) -> HttpResponseBase:
        return self.page_of(self.get_object().files.all(), RunFileOut)

    @extend_schema(summary="Download a run's file", parameters=[_OF_FILE], responses=DOWNLOAD)
    @action(detail=True, url_path="files/<uuid:file>/content")
    def file_content(self, request: Request, id: Any, file: UUID) -> HttpResponseBase:
        return _download(request, self.get_object().files, file)

    @extend_schema(
        summary="List the items that a run processed",
        filters=False,
        responses=RecordOut(many=True),
    )
    @action(detail=True)
    def records(self, request: Request, id: Any) -> HttpResponseBase:
        return self.page_of(self.get_object().records.all(), RecordOut)

    @extend_schema(
        summary="List what agents reported after the run's end",
        filters=False,
        responses=LateReportOut(many=True),
    )
    @action(detail=True, url_path="late-reports")
    def late_reports(self, request: Request, id: Any) -> HttpResponseBase:
        rows = self.get_object().late_reports.select_related("agent")
        return self.page_of(rows, LateReportOut)

    @extend_schema(
        summary="Say what the run's snapshot changed", parameters=[DiffQuery], responses=DiffOut
    )
    @action(detail=True)
    def diff(self, request: Request, id: Any) -> Response:
        run: JobRun = self.get_object()
        query = query_of(request, DiffQuery)
        if run.snapshot is None or run.target is None:
            raise Refused("no_snapshot", "This run has left no snapshot to compare.", status=404)
        return Response(diff_of(run.target, run.base_snapshot, run.snapshot, query))


def _answer_page(
    view: ScopedViewSet,
    narrowed: Any,
    serializer: type[BaseSerializer[Any]],
    *,
    waits: bool = False,
) -> HttpResponseBase:
    """Answer runs; `waits`: with why they wait."""
    request, context = view.request, view.get_serializer_context()

    def show(runs: list[JobRun]) -> Any:
        prefetch_related_objects(runs, "function__versions", "retry_of")
        if waits:
            waiting.told(runs, by=request.user)
        return serializer(runs, many=True, context=context).data

    return view.united(
        streams.Rows(
            narrowed,
            serializer(context=context),
            show,
            branches=run_policy.branches(request.user, "view"),
            fetch=JobRun.objects.for_rows().in_bulk,
        )
    )


def _download(request: Request, rows: Any, public_id: UUID) -> HttpResponseBase:
    found = rows.filter(public_id=public_id).first()
    if found is None:
        raise Http404
    return download_stored(request._request, found.storage_name, name=found.name)


class ConnectionJobViewSet(ScopedViewSet):
    """The runs of a connection, as other systems ask for them; only here jobs are runs."""

    policy = target_policy
    grants = {"list": "view"}
    orders = {"-created": ORDERS["-created"]}
    bare = True
    filter_backends = ()
    serializer_class = ConnectionJobOut

    @extend_schema(
        summary="List a connection's runs, newest first",
        description="A bare array; the header `Link` names the next page.",
        responses={(200, "application/json"): ConnectionJobOut(many=True)},
    )
    def list(self, request: Request, id: Any) -> HttpResponseBase:
        target = target_policy.get(
            request.user, "view", Target.objects.filter(kind=Target.Kind.CONNECTION), public_id=id
        )
        refuse_unknown(request, set(PARAMETERS))
        theirs = JobRun.objects.filter(target=target)
        paged = _answer_page(self, theirs, ConnectionJobOut)
        if not isinstance(paged, Response):
            return paged
        following = paged.data["next"]
        headers = {"Link": f'<{following}>; rel="next"'} if following else {}
        return Response(paged.data["results"], headers=headers)
