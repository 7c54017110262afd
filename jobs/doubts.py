"""What is said of a choice of agent before a run is made, and what a run will lack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agents import catalogue
from agents.models import Agent, AgentPool, Function
from sites import pauses
from sites.models import Site, User
from sites.naming import some_of

from .models import Job, JobRun
from .starts import credential_for
from .states import Status


def of_job(job: Job, *, by: User) -> list[str]:
    """Say why a run that this person starts of a job now would wait, or lack its credentials."""
    queue = catalogue.queue_like(
        job.site,
        job.function,
        version=job.version,
        assignment=job.assignment,
        agent=job.agent,
        pool=job.pool,
    )
    said = catalogue.doubts(queue)
    if job.target.credential_id is not None and credential_for(job.target, by=by, job=job) is None:
        said.append(_without_credentials(job.target.name))
    return said


def of_run(run: JobRun) -> list[str]:
    """Say what a pending run will lack; why it waits is for `waiting` to say."""
    if run.status != Status.PENDING:
        return []
    if run.target is not None and run.target.credential_id and not run.credential_id:
        return [_without_credentials(run.target.name)]
    return []


def paused(site: Site | None, job: Job | None) -> list[str]:
    """Say what is paused that a run needs, until when and why."""
    zone = pauses.zone_of(site)
    return [
        pause_of(kind, one, zone=zone)
        for kind, one in (("Site", site), ("Job", job))
        if one is not None and one.is_paused
    ]


def pause_of(kind: str, one: Site | Job, *, zone: str, why: bool = True) -> str:
    """Say until when one is paused, and to who may see it why."""
    return f"{kind} {one} is {pauses.words(one, zone=zone, why=why)}."


def _without_credentials(target: str) -> str:
    return (
        f"It gets no credentials: those of {target} are for parameters that its editors have"
        " written."
    )


@dataclass(frozen=True)
class Choices:
    """Which agents, pools and sites could be served now, for a form that offers them."""

    function: Function
    active: frozenset[int]
    pools: frozenset[int]
    # None among them: an agent of all sites.
    sites: frozenset[int | None]

    def with_agent(self, agent: Agent) -> str:
        """Name an agent, which comes with its state, with what keeps it from the work."""
        name = f"{agent.name}, {agent.site.name if agent.site else 'all sites'}"
        if agent.pk in self.active:
            return name
        away = catalogue.AWAY.get(getattr(agent, "state", ""))
        return f"{name} ({away or f'does not have {self.function} now'})"

    def with_pool(self, pool: AgentPool) -> str:
        """Name a pool, and say where none of its agents would take the work now."""
        lacks = "" if pool.pk in self.pools else f" (no active agent takes {self.function} for it)"
        return f"Pool {pool.name}{lacks}"

    def of_sites(self, sites: Iterable[tuple[int, str]]) -> str:
        """Name the sites at which no agent would take an automatic run now; empty if none."""
        names = sorted({name for pk, name in sites if pk not in self.sites})
        if not names or None in self.sites:
            return ""
        where = some_of(names)
        return f" Now no active agent takes automatic runs of {self.function} at {where}."


def choices(organization_id: int, function: Function, version: str = "") -> Choices:
    """Look once at who would take runs of a function now: two queries."""
    active = list(
        catalogue.active_takers(organization_id, function, version).prefetch_related("pools")
    )
    pools: set[int] = set()
    sites: set[int | None] = set()
    for agent in active:
        inside = list(agent.pools.all())
        reserved = any(pool.restricted for pool in inside)
        pools.update(pool.pk for pool in inside if pool.restricted or not reserved)
        if not reserved:
            sites.add(agent.site_id)
    return Choices(
        function, frozenset(agent.pk for agent in active), frozenset(pools), frozenset(sites)
    )
