"""How tests make people, places, agents and runs: through the real rules, states by real moves."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from auditlog.context import disable_auditlog
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client

from agents import catalogue, presence
from agents.models import Agent, Function
from jobs import making, starts
from jobs.models import Job, JobRun
from jobs.starts import start_run
from sites import credentials, tokens
from sites.access import set_role
from sites.models import AccessToken, Credential, Membership, Organization, Site, Target, User

P = ParamSpec("P")
R = TypeVar("R")
PASSWORD = "correct horse battery"
# What a credential holds: a password, and as much of a key as the portal looks at.
SECRET = "orange-Tractor-88"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\n-----END"

FOLDER = {
    "name": "folder",
    "version": "1.0",
    "functions": [
        {
            "name": "backup",
            "title": "Back up a folder",
            "produces": "snapshot",
            "takes": [],
            "parameters": {
                "type": "object",
                "properties": {
                    "exclude": {"type": "array", "items": {"type": "string"}},
                    "password": {"type": "string", "secret": True},
                },
                "additionalProperties": False,
            },
        },
        {"name": "list", "title": "List a folder", "produces": "nothing", "parameters": {}},
    ],
}


def unaudited(make: Callable[P, R]) -> Callable[P, R]:
    """Leave no trace in the audit log: what stands when a test begins was nobody's deed."""
    return disable_auditlog()(make)


@unaudited
def organization(name: str) -> Organization:
    return Organization.objects.create(name=name)


@unaudited
def site(organization: Organization, name: str, time_zone: str = "Europe/Berlin") -> Site:
    return Site.objects.create(organization=organization, name=name, time_zone=time_zone)


@unaudited
def target(site: Site, name: str, **fields: Any) -> Target:
    return Target.objects.create(
        organization=site.organization, site=site, name=name, **{"address": "10.20.4.11"} | fields
    )


@unaudited
def member(
    organization: Organization,
    name: str,
    role: str,
    *,
    viewer: Site | Target | None = None,
    editor: Site | Target | None = None,
) -> User:
    """A person of the organization; optionally with an object role on a site or target."""
    user = User.objects.create_user(
        name, f"{name}@example.com", PASSWORD, first_name=name.capitalize()
    )
    Membership.objects.create(organization=organization, user=user, role=role)
    for object_role, place in (("viewer", viewer), ("editor", editor)):
        if place is not None:
            set_role(user, object_role, on=place)
    return user


@unaudited
def superuser(name: str) -> User:
    return User.objects.create_superuser(name, f"{name}@example.com", PASSWORD)


def credential(
    organization: Organization, *, by: User, name: str = "Line login", **fields: Any
) -> Credential:
    """A password that stands nowhere yet; audited, for the audit log holds no secret either."""
    made = Credential(organization=organization, name=name, **{"username": "plc"} | fields)
    return credentials.add(made, {"password": SECRET}, by=by)


def access_token(user: User) -> str:
    """A personal access token, as the person gets to see it once."""
    row = AccessToken(user=user, name="tests")
    token, row.token_hash = tokens.make("user", row.public_id)
    row.save()
    return token


class AgentAPI:
    """The agent's side of the protocol over Django's test client: `post("claims", {...})`."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.client = Client(raise_request_exception=False)

    def request(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json"
    ) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {})
        return self.client.generic(
            method,
            f"/api/v1/agent/{path}",
            data,
            content_type=kind,
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.request("POST", path, body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.request("PUT", path, body, **more)

    def patch(self, path: str, body: Any = None) -> Any:
        return self.request("PATCH", path, body)

    def get(self, path: str) -> Any:
        return self.request("GET", path, b"")

    def claim(self, most: int = 1, claim_id: uuid.UUID | None = None) -> list[dict[str, Any]]:
        answer = self.post("claims", {"claim_id": str(claim_id or uuid.uuid4()), "max": most})
        assert answer.status_code in (200, 204), answer.content
        return answer.json()["runs"] if answer.status_code == 200 else []

    def move(self, run: dict[str, Any], status: str, **more: Any) -> Any:
        return self.patch(
            f"runs/{run['id']}",
            {"attempt": run["attempt"], "claim_id": run["claim_id"], "status": status} | more,
        )

    def of(self, run: dict[str, Any], path: str) -> str:
        return f"runs/{run['id']}/attempts/{run['attempt']}/{path}"

    def finish(self, run: dict[str, Any], status: str = "completed", **more: Any) -> Any:
        return self.put(self.of(run, "result"), {"status": status, "message": "Done."} | more)


@dataclass
class Enrolled:
    agent: Agent
    api: AgentAPI


@unaudited
def enrolled(
    organization: Organization,
    name: str,
    *,
    by: User,
    site: Site | None = None,
    slots: int = 8,
    tools: list[dict[str, Any]] | None = None,
) -> Enrolled:
    """An agent that is set up, without the code and the Events of an enrolment."""
    agent = Agent(
        organization=organization,
        site=site,
        name=name,
        slots=slots,
        version="1.0",
        platform="test",
        created_by=by,
        enrolled_at=Now(),
    )
    token, agent.token_hash = tokens.make("agent", agent.public_id)
    agent.save()
    catalogue.advertise(agent, tools or [FOLDER])
    presence.seen(agent)
    agent.refresh_from_db()
    return Enrolled(agent, AgentAPI(token))


@unaudited
def job(target: Target, function: Function, *, owner: User, **fields: Any) -> Job:
    made = Job(
        organization=target.organization,
        site=target.site,
        target=target,
        function=function,
        owner=owner,
        **{"name": f"{target.name} backup"} | fields,
    )
    made.clean()
    made.save()
    return made


def run(job: Job, *, by: User) -> JobRun:
    return start_run(job, by=by).run


def runs(jobs: list[Job], *, by: User) -> list[JobRun]:
    """Make many at once, as the planner does; a job that is named twice gets two.

    No rule is asked, and none has a credential or a planned start.
    """
    with transaction.atomic():
        queues = {job.pk: starts.queue_of(job).pk for job in set(jobs)}
        wanted = [
            making.Wanted(
                job.pk,
                queues[job.pk],
                makes_snapshot=starts.makes_snapshot(starts.version_of(job.function, job.version)),
                started_by=by.pk,
            )
            for job in jobs
        ]
        return list(JobRun.objects.filter(pk__in=making.make(wanted)))
