"""How a pool comes to be and changes: whose agents are in it, who may choose it, when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from sites.access import roles_on, set_role
from sites.holding import hold
from sites.models import Team, User
from sites.problems import Refused

from . import presence
from .models import Agent, AgentPool

# The object role of those who may choose a restricted pool.
CHOOSER = "editor"
# Filled by apps to the right: what still names a pool, said as a sentence, or None.
_obstacles: list[Callable[[AgentPool], str | None]] = []


def unless(obstacle: Callable[[AgentPool], str | None]) -> None:
    """Let an app to the right say what still names a pool."""
    if obstacle not in _obstacles:
        _obstacles.append(obstacle)


def save_pool(
    pool: AgentPool,
    *,
    agents: Sequence[Agent] | None = None,
    choosers: Sequence[User | Group] | None = None,
    **columns: Any,
) -> AgentPool:
    """Store a new pool or these changes of one; `agents` and `choosers` are whole lists, if given.

    Who waits for work is told, since it now takes other runs. Refused 422 by field: a name that is
    taken, an agent that is retired or another organization's, a person who is no member; 409 for a
    pool that was archived.
    """
    for column, value in columns.items():
        setattr(pool, column, value)
    pool.full_clean(validate_unique=False, validate_constraints=False)
    _check(pool, agents or (), choosers or ())
    with transaction.atomic():
        hold(pool.organization_id)
        was = None
        if not pool._state.adding:
            was = AgentPool.objects.select_for_update().get(pk=pool.pk)
            if was.archived_at is not None:
                raise Refused("archived", f"Pool “{was}” is archived and is not changed any more.")
        before = set(was.agents.all()) if was else set()
        try:
            with transaction.atomic():
                pool.save()
        except IntegrityError:
            words = f"A pool named “{pool.name}” exists already; choose another name."
            raise Refused("name_taken", words, status=422, errors={"name": [words]}) from None
        if agents is not None:
            pool.agents.set(agents)
        after = before if agents is None else set(agents)
        if choosers is not None:
            _let_choose(pool, set(choosers))
        kept_apart = was is not None and was.restricted != pool.restricted
        _tell(before | after if kept_apart else before ^ after)
    return pool


def archive_pool(pool: AgentPool) -> None:
    """Put a pool away; its agents leave it. Refused 409 while a job or an active run names it."""
    with transaction.atomic():
        # A job or run that is being made holds the pool's key: wait for it, then see it.
        locked = AgentPool.objects.select_for_update().get(pk=pool.pk)
        if locked.archived_at is not None:
            raise Refused("archived", f"Pool “{pool}” is archived already.")
        for obstacle in _obstacles:
            if words := obstacle(pool):
                raise Refused("in_use", words)
        AgentPool.objects.filter(pk=pool.pk).update(archived_at=Now())
        members = set(pool.agents.all())
        pool.agents.clear()
        _tell(members)
    pool.refresh_from_db()


def choosers_of(pool: AgentPool) -> list[User | Group]:
    """List the people and groups who may choose a pool while it is restricted."""
    return [who for who, _ in roles_on(pool)]


def _check(pool: AgentPool, agents: Iterable[Agent], choosers: Sequence[User | Group]) -> None:
    """Refuse (422) whom this pool cannot hold, and who cannot choose it."""
    for agent in agents:
        if agent.organization_id != pool.organization_id:
            words = f"Agent {agent} belongs to another organization."
        elif agent.retired_at is not None:
            words = f"Agent {agent} is retired."
        else:
            continue
        raise Refused("invalid", words, status=422, errors={"agents": [words]})
    people = [who for who in choosers if isinstance(who, User)]
    ids = [who.pk for who in choosers if isinstance(who, Group)]
    for team in Team.objects.filter(group__in=ids).exclude(organization=pool.organization):
        words = f"Team {team} belongs to another organization."
        raise Refused("invalid", words, status=422, errors={"teams": [words]})
    members = set(pool.organization.memberships.values_list("user_id", flat=True))
    for person in people:
        if person.pk not in members:
            words = f"{person} is no member of {pool.organization}."
            raise Refused("invalid", words, status=422, errors={"people": [words]})


def _let_choose(pool: AgentPool, wanted: set[User | Group]) -> None:
    have = set(choosers_of(pool))
    for who in wanted - have:
        set_role(who, CHOOSER, on=pool)
    for who in have - wanted:
        set_role(who, None, on=pool)


def _tell(agents: Iterable[Agent]) -> None:
    """Write that agents take runs of other queues now."""
    for agent in sorted(agents, key=lambda agent: agent.pk):
        presence.announce("agent.changed", agent)
