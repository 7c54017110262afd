"""What agents can do, and which queues that opens to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q

from sites import pauses, sql
from sites.models import Site
from sites.problems import Refused
from sites.sql import Sql

from . import schemas
from .models import Agent, AgentPool, Assignment, Function, FunctionVersion, Queue, Tool
from .querysets import SILENCE, AgentQuerySet, takes_none
from .schemas import SecretNames

# How many values the schemas of one agent may have together.
MOST_TOGETHER = 200_000


def advertise(agent: Agent, tools: list[dict[str, Any]]) -> None:
    """Store what the agent says it can do, in place of what it said before.

    A function version is immutable: the schema of the first agent that advertised it stays.
    Runs inside the caller's transaction; `check` comes before it.
    """
    versions: list[FunctionVersion] = []
    # In one order, so that two agents with the same new tools wait for each other in turn.
    for tool in sorted(tools, key=lambda tool: (tool["name"], tool["version"])):
        row, _ = Tool.objects.get_or_create(
            organization_id=agent.organization_id, name=tool["name"]
        )
        for function in sorted(tool["functions"], key=lambda function: function["name"]):
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
    agent.functions.set(versions)


def check(tools: list[dict[str, Any]]) -> None:
    """Refuse (422) tools with a schema that cannot be used, or with schemas too large together.

    Asked before the transaction that `advertise` runs in: it takes time, and nobody waits for it.
    """
    together = 0
    for tool in tools:
        for function in tool["functions"]:
            name = f"{tool['name']}.{function['name']}"
            try:
                together += schemas.check(function["parameters"])
            except ValueError as error:
                said = str(error)[:300]
                raise _unusable(
                    f"The parameters of {name} are not a JSON Schema that can be used: {said}",
                    f"{name}: {said}",
                ) from None
            if together > MOST_TOGETHER:
                said = (
                    "The schemas of all functions have more than "
                    f"{MOST_TOGETHER:,} values together, with each $ref written out."
                )
                raise _unusable(said, said)


def _unusable(detail: str, said: str) -> Refused:
    return Refused("invalid", detail, status=422, errors={"tools": [said]})


def errors_in(version: FunctionVersion, parameters: Any) -> list[tuple[str, str]]:
    """Hold parameters against a function's schema: (path, what is wrong) of the first errors.

    The words never hold the value of a secret: what is stored may be another person's.
    """
    secret = secret_parameters(version.function)
    return schemas.errors_in(version.parameters or {}, parameters, secret=secret)


def newest_version(function: Function, version: str = "") -> FunctionVersion | None:
    """Give the named version of a function, or the newest one that was advertised."""
    versions = function.versions.all()
    found = versions.filter(version=version) if version else versions.order_by("-created_at", "-id")
    return found.first()


def newest_versions(wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], FunctionVersion]:
    """Give what `newest_version` gives, for many functions (by key) and versions: two queries."""
    wanted = set(wanted)
    found: dict[tuple[int, str], FunctionVersion] = {}
    versions = FunctionVersion.objects.filter(function__in={function for function, _ in wanted})
    # With what says of each function which parameters are secret, so that nobody asks one by one.
    read = versions.select_related("function__tool").prefetch_related("function__versions")
    for version in read.order_by("created_at", "id"):
        for name in ("", version.version):
            if (version.function_id, name) in wanted:
                found[version.function_id, name] = version
    return found


def secret_parameters(function: Function) -> SecretNames | None:
    """Say what any version of a function marks as secret: what was one in a version stays one.

    None where no version is known, so that nothing says what is secret.
    """
    known = [version.parameters for version in function.versions.all()]
    return SecretNames.of_all(map(schemas.secret_names, known)) if known else None


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
    wanted = queue_like(
        site, function, version=version, assignment=assignment, agent=agent, pool=pool
    )
    known = Queue.objects.filter(key=wanted.key).first()
    if known is not None:
        return known
    columns = [field.attname for field in Queue._meta.concrete_fields if not field.primary_key]
    queue, _ = Queue.objects.get_or_create(
        key=wanted.key, defaults={name: getattr(wanted, name) for name in columns}
    )
    return queue


def queue_key(
    site: int, function: int, version: str, assignment: str, agent: int | None, pool: int | None
) -> str:
    """Spell what makes a queue this one."""
    return f"{site}:{function}:{version}:{assignment}:{agent or pool or ''}"


def queue_like(
    site: Site,
    function: Function,
    *,
    version: str = "",
    assignment: str = Assignment.AUTOMATIC,
    agent: Agent | None = None,
    pool: AgentPool | None = None,
) -> Queue:
    """Describe the queue of a run that is not made yet, without storing one."""
    agent_id, pool_id = agent.pk if agent else None, pool.pk if pool else None
    return Queue(
        key=queue_key(site.pk, function.pk, version, assignment, agent_id, pool_id),
        organization_id=site.organization_id,
        site=site,
        function=function,
        version=version,
        assignment=assignment,
        agent=agent,
        pool=pool,
    )


# Each kind of queue along its own index: an organization has as many queues as it has agents.
_QUEUES = """
    WITH agent AS (
        SELECT one.id, one.organization_id, one.site_id, EXISTS (
            SELECT 1 FROM agents_agentpool_agents AS inside
            JOIN agents_agentpool AS closed ON closed.id = inside.agentpool_id
            WHERE inside.agent_id = one.id AND closed.restricted) AS reserved
        FROM agents_agent AS one WHERE one.id = %s
    ), near AS (
        SELECT queue.* FROM agent JOIN agents_queue AS queue ON queue.agent_id = agent.id
        UNION ALL
        SELECT queue.* FROM agent
        JOIN agents_agentpool_agents AS member ON member.agent_id = agent.id
        JOIN agents_agentpool AS pool ON pool.id = member.agentpool_id
             AND (pool.restricted OR NOT agent.reserved)
        JOIN agents_queue AS queue ON queue.pool_id = pool.id
        UNION ALL
        SELECT queue.* FROM agent JOIN agents_queue AS queue ON queue.assignment = 'automatic'
             AND queue.organization_id = agent.organization_id AND queue.site_id = agent.site_id
        WHERE NOT agent.reserved
        UNION ALL
        SELECT queue.* FROM agent JOIN agents_queue AS queue ON queue.assignment = 'automatic'
             AND queue.organization_id = agent.organization_id
        WHERE NOT agent.reserved AND agent.site_id IS NULL
    )
    SELECT DISTINCT near.id FROM agent
    JOIN near ON near.organization_id = agent.organization_id
         AND (agent.site_id IS NULL OR near.site_id = agent.site_id)
    JOIN agents_functionversion_agents AS able ON able.agent_id = agent.id
    JOIN agents_functionversion AS known ON known.id = able.functionversion_id
         AND known.function_id = near.function_id AND near.version IN ('', known.version)
"""


def queues_of(agent: Agent) -> list[int]:
    """Ids of the queues that this agent may take runs from (rules 5 and 12).

    An agent in a restricted pool works for those who may choose it: it takes what names itself or
    such a pool, and neither automatic runs nor those of a pool that is open to everyone.
    """
    return [pk for (pk,) in sql.rows(Sql(_QUEUES, (agent.pk,)))]


def takers_of(queues: Iterable[int]) -> dict[int, set[int]]:
    """Ids of the agents that may take runs from each queue: `queues_of` turned round.

    A query for each queue, for queues that were made while thousands of agents wait already.
    """
    takers: dict[int, set[int]] = {pk: set() for pk in queues}
    for queue in Queue.objects.filter(pk__in=takers).select_related("pool"):
        takers[queue.pk].update(_taking(queue, _able(queue)).values_list("pk", flat=True))
    return takers


def _able(queue: Queue) -> AgentQuerySet:
    """Those that have the function, serve the site, and are who was asked for."""
    versions = FunctionVersion.objects.filter(function=queue.function_id)
    if queue.version:
        versions = versions.filter(version=queue.version)
    agents = (
        Agent.objects.in_use()
        .filter(organization=queue.organization_id, functions__in=versions)
        .filter(Q(site=None) | Q(site=queue.site_id))
    )
    if queue.agent_id is not None:
        agents = agents.filter(pk=queue.agent_id)
    if queue.pool_id is not None:
        agents = agents.filter(pools=queue.pool_id)
    return agents


def _taking(queue: Queue, able: AgentQuerySet) -> AgentQuerySet:
    """Of those that are able, those that no restricted pool keeps from it."""
    if queue.agent_id is None and not (queue.pool and queue.pool.restricted):
        return able.exclude(pools__restricted=True)
    return able


def why_nobody_takes(queue: Queue) -> str:
    """Say what keeps every agent from the runs of a queue; empty where one may take them.

    A silent, draining or busy agent may: it comes back, and `who_is_away` tells of it. Pools are
    restricted and functions go while runs wait already. The queue need not be stored.
    """
    able = _able(queue)
    if takers(queue).exists():
        return ""
    what = f"{queue.function} {queue.version}".rstrip()
    if (agent := queue.agent) is not None:
        if agent.retired_at is not None:
            return f"{agent} is retired."
        if agent.site_id not in (None, queue.site_id):
            return f"{agent} serves another site."
        return f"{agent} does not have {what} now."
    whose = f"of the pool {queue.pool}" if queue.pool else "of the site"
    if not able.exists():
        return f"No agent {whose} has {what} now."
    return f"Each agent {whose} that has {what} is in a restricted pool now, which takes " + (
        "no runs of an open one." if queue.pool else "no automatic runs."
    )


# What people read of an agent that is there to take runs, but does not take any now.
AWAY = {
    "setting_up": "was never seen yet",
    "disconnected": "is disconnected",
    "draining": "is draining and takes no new runs",
}


def who_is_away(queue: Queue, only: Agent | None = None) -> str:
    """Say that none of those who may take the runs of a queue does so now; empty where one does.

    `only` is the one agent that may, for a reader who may see it.
    """
    return _away(queue, _stand(queue), only)


def _stand(queue: Queue) -> set[tuple[Any, ...]]:
    """How those stand that may take the runs of a queue: state, draining, paused until."""
    taking: Any = takers(queue).with_state().order_by()
    return set(taking.values_list("state", "draining", "paused_until").distinct())


def _away(queue: Queue, found: set[tuple[Any, ...]], only: Agent | None = None) -> str:
    states = {state for state, *_ in found}
    if not states or states - AWAY.keys():
        return ""
    away = dict(AWAY)
    taking_none = [(drains, until) for state, drains, until in found if state == "draining"]
    if taking_none and not any(drains for drains, _ in taking_none):
        # Who may read this need not see the agent: its reason is not told.
        until = pauses.clock(min(until for _, until in taking_none), queue.site.time_zone)
        away["draining"] = f"is paused until {until}"
    words = " or ".join(away[state] for state in away if state in states)
    if (named := queue.agent or only) is not None:
        return f"{named} {words}."
    whose = f"of the pool {queue.pool}" if queue.pool else "of the site"
    return f"Each agent {whose} that has {queue.function} {words}."


def takers(queue: Queue) -> AgentQuerySet:
    """Give the agents that may take the runs of a queue, there or not; it need not be stored.

    One that has two versions of the function comes twice.
    """
    return _taking(queue, _able(queue))


# Of a queue, the agents that serve its place and are who was asked for; those of them that have the
# function; those of them that no restricted pool keeps from it: as `_able` and `_taking` say it.
_SERVE = """
    SELECT 1 FROM agents_agent AS agent
    LEFT JOIN agents_agentpresence AS presence ON presence.agent_id = agent.id
    WHERE agent.organization_id = queue.organization_id AND agent.retired_at IS NULL
      AND (agent.site_id IS NULL OR agent.site_id = queue.site_id)
      AND (queue.agent_id IS NULL OR agent.id = queue.agent_id)
      AND (queue.pool_id IS NULL OR EXISTS (
          SELECT 1 FROM agents_agentpool_agents AS member
          WHERE member.agent_id = agent.id AND member.agentpool_id = queue.pool_id))
"""
_HAVE = """
      AND EXISTS (
          SELECT 1 FROM agents_functionversion_agents AS able
          JOIN agents_functionversion AS known ON known.id = able.functionversion_id
          WHERE able.agent_id = agent.id AND known.function_id = queue.function_id
            AND queue.version IN ('', known.version))
"""
_TAKE = """
      AND (queue.agent_id IS NOT NULL
           OR EXISTS (SELECT 1 FROM agents_agentpool AS asked
                      WHERE asked.id = queue.pool_id AND asked.restricted)
           OR NOT EXISTS (
               SELECT 1 FROM agents_agentpool_agents AS inside
               JOIN agents_agentpool AS closed ON closed.id = inside.agentpool_id
               WHERE inside.agent_id = agent.id AND closed.restricted))
"""


def standing(queue: str, held: str) -> str:
    """The SQL that says in a word how a queue stands with its agents, for lists of what waits.

    `queue` is the SQL of the queue's id, `held` that of how many runs `agent` holds. The word is
    `soon` where one is free, `slots` where those that are there are at work, `draining`, `away`
    (silent, or never seen), `restricted` (a pool keeps those that could), `no_function`,
    `no_agent`. The first agent that is free answers, however many there are.
    """
    take = f"{_SERVE} {_HAVE} {_TAKE}"
    seen = f"{take} AND presence.seen_at >= {sql.later(str(-SILENCE.total_seconds()))}"
    there = f"{seen} AND NOT {takes_none('agent')}"
    return f"""(SELECT CASE
        WHEN EXISTS ({there} AND agent.slots > ({held})) THEN 'soon'
        WHEN EXISTS ({there}) THEN 'slots'
        WHEN EXISTS ({seen}) THEN 'draining'
        WHEN EXISTS ({take}) THEN 'away'
        WHEN EXISTS ({_SERVE} {_HAVE}) THEN 'restricted'
        WHEN EXISTS ({_SERVE}) THEN 'no_function'
        ELSE 'no_agent' END
        FROM agents_queue AS queue WHERE queue.id = {queue})"""


def doubts(queue: Queue) -> list[str]:
    """Say why runs of a queue would wait, before one is made and while it waits; empty if none."""
    found = _stand(queue)
    said = _away(queue, found) if found else why_nobody_takes(queue)
    return [said] if said else []


def active_takers(organization_id: int, function: Function, version: str = "") -> AgentQuerySet:
    """Give the agents of an organization that have a function and take runs of it now."""
    versions = FunctionVersion.objects.filter(function=function)
    if version:
        versions = versions.filter(version=version)
    # By id: joined, an agent with two versions would come twice.
    able = Agent.objects.filter(functions__in=versions).values("pk")
    agents = Agent.objects.in_use().filter(organization=organization_id, pk__in=able)
    return agents.with_state().filter(state="active")  # type: ignore[misc]
