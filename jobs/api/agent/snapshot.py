"""How an agent sends the files of a backup."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema

from agents.api.door import (
    AgentDoor,
    agent_of,
    body_of,
    declared_length,
    offset_of,
    raw_body,
    respond,
)

from ... import snapshots
from .evidence import BYTES, OFFSET, TAGS
from .serializers import (
    ContentOut,
    LengthOut,
    MissingOut,
    OpenOut,
    ReceivedOut,
    SealOut,
    SizeIn,
    TreeIn,
)

LINES = "application/x-ndjson"


class Open(AgentDoor):
    """Say the root tree id: equal to the accepted one, the backup is up to date."""

    @extend_schema(
        operation_id="agent_snapshot", tags=TAGS, request=TreeIn, responses={200: OpenOut}
    )
    def post(self, request: HttpRequest, run: UUID, attempt: int) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, TreeIn)
        found = snapshots.open_snapshot(agent, run, attempt=attempt, tree=data["tree"])
        return respond(
            {
                "verdict": found.verdict,
                "base_tree": found.base.tree_id if found.base else None,
                "commit": found.snapshot.commit_id if found.snapshot else None,
            }
        )


class Manifest(AgentDoor):
    """Send the list of files, one JSON object a line; answers what the vault lacks."""

    @extend_schema(
        operation_id="agent_manifest",
        tags=TAGS,
        request={LINES: OpenApiTypes.STR},
        responses={200: MissingOut},
    )
    def post(self, request: HttpRequest, run: UUID, attempt: int) -> HttpResponse:
        missing = snapshots.take_manifest(
            agent_of(request), run, attempt=attempt, stream=raw_body(request, LINES)
        )
        return respond({"missing": missing.objects, "missing_content": missing.content})


class Objects(AgentDoor):
    """Send framed blobs: 20 bytes id, 4 bytes length, the bytes."""

    @extend_schema(
        operation_id="agent_objects",
        tags=TAGS,
        request={BYTES: OpenApiTypes.BINARY},
        responses={200: ReceivedOut},
    )
    def post(self, request: HttpRequest, run: UUID, attempt: int) -> HttpResponse:
        received = snapshots.take_objects(
            agent_of(request), run, attempt=attempt, stream=raw_body(request, BYTES)
        )
        return respond({"received": received})


class Content(AgentDoor):
    """Upload the content of a file that is too large for git, in chunks, then close it."""

    @extend_schema(
        operation_id="agent_content_chunk",
        tags=TAGS,
        parameters=[OFFSET],
        request={BYTES: OpenApiTypes.BINARY},
        responses={200: LengthOut},
    )
    def put(self, request: HttpRequest, run: UUID, attempt: int, sha256: str) -> HttpResponse:
        length = snapshots.stage_content(
            agent_of(request),
            run,
            attempt=attempt,
            sha256=sha256,
            offset=offset_of(request),
            stream=raw_body(request, BYTES),
            announced=declared_length(request),
        )
        return respond({"length": length})

    @extend_schema(
        operation_id="agent_content_close",
        tags=TAGS,
        request=SizeIn,
        responses={200: ContentOut, 201: ContentOut},
    )
    def post(self, request: HttpRequest, run: UUID, attempt: int, sha256: str) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, SizeIn)
        new = snapshots.close_content(agent, run, attempt=attempt, sha256=sha256, size=data["size"])
        return respond({"sha256": sha256, "size": data["size"]}, 201 if new else 200)


class Seal(AgentDoor):
    """Make what was sent a snapshot; answers the portal's verdict."""

    @extend_schema(operation_id="agent_seal", tags=TAGS, request=TreeIn, responses={200: SealOut})
    def post(self, request: HttpRequest, run: UUID, attempt: int) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, TreeIn)
        found = snapshots.seal(agent, run, attempt=attempt, tree=data["tree"])
        snapshot, base = found.snapshot, found.base
        same = snapshot is None or snapshot == base
        return respond(
            {
                "verdict": found.verdict,
                "commit": snapshot.commit_id if snapshot else None,
                "base_commit": base.commit_id if base else None,
                "counts": {
                    name: 0 if same else getattr(snapshot, name)
                    for name in ("added", "modified", "removed", "renamed")
                },
            }
        )
