"""Claims, moves, heartbeats and results: the hot routes of the agent protocol."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema

from agents.api.agent import HEARTBEAT_S, LEASE_S
from agents.api.door import AgentDoor, agent_of, body_of, respond

from ... import batches, beats, dispatch, results, transitions
from ...states import Status
from .serializers import (
    ClaimIn,
    ClaimOut,
    HeartbeatIn,
    HeartbeatOut,
    MoveIn,
    MoveOut,
    MovesIn,
    MovesOut,
    ResultIn,
    ResultOut,
    ResultsIn,
    ResultsOut,
)

TAGS = ["agent protocol"]


class Claims(AgentDoor):
    """Take the oldest runs that the agent may and can carry out."""

    @extend_schema(
        operation_id="agent_claim",
        tags=TAGS,
        request=ClaimIn,
        responses={
            200: ClaimOut,
            204: OpenApiResponse(description="Nothing waits for this agent."),
        },
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, ClaimIn)
        runs = dispatch.claim(agent, data["claim_id"], most=data["max"])
        if not runs:
            return HttpResponse(status=204)
        return respond({"runs": [claimed(run, data["claim_id"]) for run in runs]})


def claimed(run: dispatch.ClaimedRun, claim_id: UUID) -> dict[str, Any]:
    """Shape a run for the agent that holds it."""
    return {
        "id": run.id,
        "attempt": run.attempt,
        "claim_id": claim_id,
        "status": run.status,
        "lease_s": LEASE_S,
        "run_timeout_s": run.run_timeout_s,
        "tool": run.tool,
        "function": run.function,
        "version": run.version,
        "target": {
            "id": run.target_id,
            "name": run.target_name,
            "kind": run.target_kind,
            "address": run.target_address,
            "settings": run.target_settings,
        },
        "parameters": run.parameters,
        "credentials": run.credentials,
        "base_tree": run.base_tree,
        "inputs": [
            {
                "id": one.public_id,
                "name": one.name,
                "media_type": one.media_type,
                "size": one.size,
                "sha256": one.sha256,
            }
            for one in run.inputs
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
                "id": moved.id,
                "attempt": moved.attempt,
                "status": moved.status,
                "lease_s": LEASE_S,
            }
        )


class Runs(AgentDoor):
    """Move many runs on at once; each is answered as it would be alone."""

    @extend_schema(
        operation_id="agent_moves", tags=TAGS, request=MovesIn, responses={200: MovesOut}
    )
    def patch(self, request: HttpRequest) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, MovesIn)
        answered = batches.report_all(agent, data["runs"])
        return respond({"runs": [one._asdict() for one in answered]})


class Results(AgentDoor):
    """End many runs at once; each is answered as it would be alone."""

    @extend_schema(
        operation_id="agent_results", tags=TAGS, request=ResultsIn, responses={200: ResultsOut}
    )
    def put(self, request: HttpRequest) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, ResultsIn)
        answered = batches.finish_all(agent, data["results"])
        return respond({"results": [one._asdict() for one in answered]})


class Heartbeat(AgentDoor):
    """Keep the leases of the agent's runs alive."""

    @extend_schema(
        operation_id="agent_heartbeat",
        tags=TAGS,
        request=HeartbeatIn,
        responses={200: HeartbeatOut},
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
                "drain": not agent.takes_runs,
                "rotate": agent.rotating,
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
