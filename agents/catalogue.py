"""What agents can do, and which queues that opens to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from django.db.models import Q
from sites.models import Site
from sites.problems import Refused

from .models import Agent, AgentPool, Assignment, Function, FunctionVersion, Queue, Tool


def advertise(agent: Agent, tools: list[dict[str, Any]]) -> None:
    """Store what the agent says it can do, in place of what it said before.

    A function version is immutable: the schema of the first agent that advertised it stays.
    Runs inside the caller's transaction.
    """
    versions: list[FunctionVersion] = []
    for tool in tools:
        row, _ = Tool.objects.get_or_create(organization_id=agent.organization_id, name=tool["name"])
        for function in tool["functions"]:
            _check_schema(function["parameters"], f"{tool['name']}.{function['name']}")
            known, _ = Function.objects.get_or_create(
                tool=row, name=function["name"], organization_id=agent.organization_id
            )
            version, _ = FunctionVersion.objects.get_or_create(
                function=known,
                version=tool["version"],
                defaults={
                    "title": function.get("title", ""),
                    "produces": function.get("produces", "nothing"),
                    "takes": function.get("takes", []),
                    "parameters": function["parameters"],
                },
            )
            versions.append(version)
    agent.functions.set(versions)  # type: ignore[attr-defined]


def _check_schema(schema: Any, name: str) -> None:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Refused(
            "invalid",
            f"The parameters of {name} are not a JSON Schema: {error.message[:300]}",
            status=422,
            errors={"tools": [f"{name}: {error.message[:300]}"]},
        ) from None


def newest_version(function: Function, version: str = "") -> FunctionVersion | None:
    """Give the named version of a function, or the newest one that was advertised."""
    versions = function.versions.all()  # type: ignore[attr-defined]
    found = versions.filter(version=version) if version else versions.order_by("-created_at", "-id")
    return found.first()  # type: ignore[no-any-return]


def secret_names(schema: dict[str, Any]) -> frozenset[str]:
    """Name the parameters that a schema marks as secret."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return frozenset()
    return frozenset(
        name for name, rule in properties.items() if isinstance(rule, dict) and rule.get("secret")
    )


def queue_for(
    site: Site,
    function: Function,
    *,
    version: str = "",
    assignment: str = Assignment.AUTOMATIC,
    agent: Agent | None = None,
    pool: AgentPool | None = None,
) -> Queue:
    """Find or make the queue of runs with exactly this place, function and assignment."""
    who = agent.pk if agent else pool.pk if pool else ""
    key = f"{site.pk}:{function.pk}:{version}:{assignment}:{who}"
    known = Queue.objects.filter(key=key).first()
    if known is not None:
        return known
    queue, _ = Queue.objects.get_or_create(
        key=key,
        defaults={
            "organization_id": site.organization_id,
            "site": site,
            "function": function,
            "version": version,
            "assignment": assignment,
            "agent": agent,
            "pool": pool,
        },
    )
    return queue


def queues_of(agent: Agent) -> list[int]:
    """Ids of the queues that this agent may take runs from (rules 5 and 12), in two queries."""
    advertised = set(
        FunctionVersion.objects.filter(agents=agent).values_list("function_id", "version")
    )
    assigned = (
        Q(assignment=Assignment.AUTOMATIC)
        | Q(assignment=Assignment.AGENT, agent=agent)
        | Q(assignment=Assignment.POOL, pool__in=AgentPool.objects.filter(agents=agent))
    )
    queues = Queue.objects.filter(
        assigned,
        organization_id=agent.organization_id,
        function__in={function for function, _ in advertised},
    )
    if agent.site_id is not None:
        queues = queues.filter(site_id=agent.site_id)
    return [
        pk
        for pk, function, version in queues.values_list("pk", "function_id", "version")
        if not version or (function, version) in advertised
    ]



def takers_of(queues: Iterable[int]) -> dict[int, set[int]]:
    """Ids of the agents that may take runs from each queue: `queues_of` turned round.

    A query for each queue, for queues that were made while thousands of agents wait already.
    """
    takers: dict[int, set[int]] = {pk: set() for pk in queues}
    for queue in Queue.objects.filter(pk__in=takers):
        versions = FunctionVersion.objects.filter(function=queue.function_id)
        if queue.version:
            versions = versions.filter(version=queue.version)
        agents = (
            Agent.objects.in_use()
            .filter(organization=queue.organization_id, functions__in=versions)
            .filter(Q(site=None) | Q(site=queue.site_id))
        )
        if queue.assignment == Assignment.AGENT:
            agents = agents.filter(pk=queue.agent_id)
        elif queue.assignment == Assignment.POOL:
            agents = agents.filter(pools=queue.pool_id)
        takers[queue.pk].update(agents.values_list("pk", flat=True))
    return takers
