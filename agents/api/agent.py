"""The doors through which a program becomes an agent and says what it can do."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import Throttled

from sites.problems import Refused

from .. import enrolment, throttling
from .door import AgentDoor, agent_of, body_of, respond
from .serializers import AgentTokenOut, EnrollIn, EnrollOut, HelloIn, SettingsOut

HEARTBEAT_S = 15
LEASE_S = 60
POLL_S = 30
LIMITS = {
    "chunk_bytes": 8 * 1024 * 1024,
    "object_bytes": 8 * 1024 * 1024,
    "records": 10_000,
    "log_bytes": 256 * 1024,
}


class Enroll(AgentDoor):
    """Turn a one-time code into an agent's token."""

    @extend_schema(
        operation_id="agent_enroll",
        tags=["agent protocol"],
        auth=[],
        request=EnrollIn,
        responses={201: EnrollOut},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        address = request.META.get("REMOTE_ADDR") or None
        data = body_of(request, EnrollIn)
        if not throttling.take(address or ""):
            raise Throttled(60, "Too many tries to enrol from this address; wait a minute.")
        wrong = False
        try:
            agent, token = enrolment.enroll(
                data["code"],
                name=data["name"],
                version=data["version"],
                platform=data["platform"],
                tools=data["tools"],
                address=address,
            )
        except Refused as error:
            wrong = error.code == "enrolment_refused"
            raise
        finally:
            if not wrong:
                throttling.give_back(address or "")
        return respond(
            {
                "agent": agent.public_id,
                "name": agent.name,
                "token": token,
                "organization": agent.organization.name,
                "site": agent.site.name if agent.site else None,
            },
            201,
        )


class Hello(AgentDoor):
    """Say what the agent is and can do; answers its settings."""

    @extend_schema(
        operation_id="agent_hello",
        tags=["agent protocol"],
        request=HelloIn,
        responses={200: SettingsOut},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        agent = agent_of(request)
        data = body_of(request, HelloIn)
        queues = enrolment.greet(
            agent,
            version=data["version"],
            platform=data["platform"],
            tools=data["tools"],
            address=request.META.get("REMOTE_ADDR") or None,
        )
        return respond(
            {
                "agent": agent.public_id,
                "name": agent.name,
                "heartbeat_s": HEARTBEAT_S,
                "lease_s": LEASE_S,
                "poll_s": POLL_S,
                "slots": agent.slots,
                "drain": not agent.takes_runs,
                "rotate": agent.rotating,
                "queues": queues,
                "limits": LIMITS,
            }
        )


class Token(AgentDoor):
    """Change the agent's token: the new one ends the old one at its first use."""

    @extend_schema(
        operation_id="agent_token",
        tags=["agent protocol"],
        request=None,
        responses={201: AgentTokenOut},
    )
    def post(self, request: HttpRequest) -> HttpResponse:
        return respond({"token": enrolment.next_token(agent_of(request))}, 201)
