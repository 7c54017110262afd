"""Logs, files, records and inputs of a run that an agent holds."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from agents.api.door import (
    AgentDoor,
    agent_of,
    body_of,
    declared_length,
    offset_of,
    raw_body,
    respond,
)
from sites.api.downloads import DOWNLOAD, download_stored

from ... import evidence
from ...models import RunInput
from .serializers import (
    FileIn,
    FileOut,
    LengthOut,
    LogIn,
    RecordsIn,
    RecordsOut,
)

TAGS = ["agent protocol"]
BYTES = "application/octet-stream"
OFFSET = OpenApiParameter("offset", int, required=True, description="Where the chunk begins.")


class Log(AgentDoor):
    """Add a piece to the run's log."""

    @extend_schema(operation_id="agent_log", tags=TAGS, request=LogIn, responses={200: LengthOut})
    def post(self, request: HttpRequest, run: UUID, attempt: int) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, LogIn)
        length = evidence.append_log(
            agent, run, attempt=attempt, offset=data["offset"], text=data["text"]
        )
        return respond({"length": length})


class Records(AgentDoor):
    """Store up to 10,000 records."""

    @extend_schema(
        operation_id="agent_records", tags=TAGS, request=RecordsIn, responses={200: RecordsOut}
    )
    def post(self, request: HttpRequest, run: UUID, attempt: int) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, RecordsIn)
        stored = evidence.add_records(agent, run, attempt=attempt, records=data["records"])
        return respond({"stored": stored})


class File(AgentDoor):
    """Upload a file in chunks, then close it."""

    @extend_schema(
        operation_id="agent_file_chunk",
        tags=TAGS,
        parameters=[OFFSET],
        request={BYTES: OpenApiTypes.BINARY},
        responses={200: LengthOut},
    )
    def put(self, request: HttpRequest, run: UUID, attempt: int, file: UUID) -> HttpResponse:
        length = evidence.stage_file(
            agent_of(request),
            run,
            attempt=attempt,
            file_id=file,
            offset=offset_of(request),
            stream=raw_body(request, BYTES),
            announced=declared_length(request),
        )
        return respond({"length": length})

    @extend_schema(
        operation_id="agent_file_close",
        tags=TAGS,
        request=FileIn,
        responses={200: FileOut, 201: FileOut},
    )
    def post(self, request: HttpRequest, run: UUID, attempt: int, file: UUID) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, FileIn)
        kept = evidence.close_file(agent, run, attempt=attempt, file_id=file, **data)
        return respond(
            {
                "id": kept.file.public_id,
                "name": kept.file.name,
                "size": kept.file.size,
                "sha256": kept.file.sha256,
            },
            201 if kept.created else 200,
        )


class Input(AgentDoor):
    """Read an input of a run that the agent holds."""

    @extend_schema(operation_id="agent_input", tags=TAGS, responses=DOWNLOAD)
    def get(self, request: HttpRequest, run: UUID, attempt: int, input: UUID) -> HttpResponseBase:
        held = evidence.executing(agent_of(request), run, attempt)
        found = RunInput.objects.filter(run=held, public_id=input).first()
        if found is None:
            raise Http404
        return download_stored(request, found.storage_name, name=found.name, through_portal=True)
