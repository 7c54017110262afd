"""Claims, moves, heartbeats and results: the hot routes of the agent protocol."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema

from agents.api.agent import HEARTBEAT_S, LEASE_S
from agents.api.door import AgentDoor, agent_of, body_of, respond
from django.http import HttpRequest, HttpResponse

from ... import beats, dispatch, results, transitions
from ...models import JobRun
from ...states import Status
from .serializers import (
    ClaimIn,
    ClaimOut,
    HeartbeatIn,
    HeartbeatOut,
    MoveIn,
    MoveOut,
    ResultIn,
    ResultOut,
)

TAGS = ["agent protocol"]


class Claims(AgentDoor):
    """Take the oldest runs that the agent may and can carry out."""

    @extend_schema(
        operation_id="agent_claim",
        tags=TAGS,
        request=ClaimIn,
        responses={200: ClaimOut, 204: OpenApiResponse(description="Nothing waits for this agent.")},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, ClaimIn)
        taken = dispatch.claim(agent, data["claim_id"], most=data["max"])
        if taken.claim is None:
            return HttpResponse(status=204)
        return respond({"runs": [claimed(run) for run in taken.runs]})


def claimed(run: JobRun) -> dict[str, Any]:
    """Shape a run for the agent that holds it: the only place where inputs and secrets go out."""
    target, function, base = run.target, run.function, None
    if run.makes_snapshot and target is not None:
        base = target.accepted_snapshot
    return {
        "id": run.public_id,
        "attempt": run.attempt,
        "claim_id": run.claim.claim_id if run.claim else None,
        "status": run.status,
        "lease_s": LEASE_S,
        "run_timeout_s": run.run_timeout_s,
        "tool": function.tool.name if function else "",
        "function": function.name if function else "",
        "version": run.actual_version,
        "target": {
            "id": target.public_id,
            "name": target.name,
            "kind": target.kind,
            "address": target.address,
            "settings": target.settings,
        }
        if target
        else None,
        "parameters": run.parameters,
        "credentials": {},
        "base_tree": base.tree_id if base and base.purged_at is None else None,
        "inputs": [
            {
                "id": one.public_id,
                "name": one.name,
                "media_type": one.media_type,
                "size": one.size,
                "sha256": one.sha256,
            }
            for one in run.inputs.all()  # type: ignore[attr-defined]
        ],
    }


class Run(AgentDoor):
    """Move a run on: running, validating, uploading."""

    @extend_schema(operation_id="agent_move", tags=TAGS, request=MoveIn, responses={200: MoveOut})
    def patch(self, request: HttpRequest, run: UUID) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, MoveIn)
        moved = transitions.report_status(
            agent,
            run,
            attempt=data["attempt"],
            claim_id=data["claim_id"],
            to=Status(data["status"]),
            message=data.get("message", ""),
            progress=data.get("progress"),
        )
        return respond(
            {
                "id": moved.public_id,
                "attempt": moved.attempt,
                "status": moved.status,
                "lease_s": LEASE_S,
            }
        )


class Heartbeat(AgentDoor):
    """Keep the leases of the agent's runs alive."""

    @extend_schema(
        operation_id="agent_heartbeat", tags=TAGS, request=HeartbeatIn, responses={200: HeartbeatOut}
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, HeartbeatIn)
        answers = beats.heartbeat(
            agent,
            [
                beats.Beat(one["id"], one["attempt"], one["claim_id"], one.get("progress"))
                for one in data["runs"]
            ],
        )
        return respond(
            {
                "runs": [
                    {
                        "id": one.id,
                        "attempt": one.attempt,
                        "code": one.code,
                        "status": one.status,
                        "lease_s": LEASE_S,
                    }
                    for one in answers
                ],
                "heartbeat_s": HEARTBEAT_S,
                "lease_s": LEASE_S,
                "drain": agent.draining,
            }
        )


class Result(AgentDoor):
    """End a run: only this does."""

    @extend_schema(
        operation_id="agent_result", tags=TAGS, request=ResultIn, responses={200: ResultOut}
    )
    def put(self, request: HttpRequest, run: UUID, attempt: int) -> HttpResponse:
        agent = agent_of(request)
        report = body_of(request, ResultIn)
        match results.finish(agent, run, attempt=attempt, report=report):
            case results.Late(run=late):
                # The report was kept and committed; the agent learns that it changed nothing.
                raise transitions.already_final(late)
            case results.Ended(run=ended, replayed=replayed):
                headers = {"Idempotency_Replayed": "true"} if replayed else {}
                return respond(
                    {
                        "id": ended.public_id,
                        "attempt": ended.attempt,
                        "status": ended.status,
                        "result": ended.result,
                    },
                    **headers,
                )
