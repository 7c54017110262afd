"""How a program becomes an agent, and how it stops being one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from sites import pauses, tokens
from sites.models import Organization, Site, User
from sites.problems import Refused

from . import catalogue, presence
from .models import Agent, EnrolmentCode

CODE_LIFETIME = timedelta(hours=1)
# Read aloud and typed: no letter that looks like a digit.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
# Filled by apps to the right: what else ends with an agent.
_when_retired: list[Callable[[Agent, User], None]] = []
_REFUSED = "This enrolment code is not valid: it may be mistyped, used or older than an hour."


def add_agent(
    organization: Organization, *, name: str, by: User, site: Site | None = None, slots: int = 2
) -> tuple[Agent, str]:
    """Make an agent that waits for its program: the agent and its one-time code, shown once."""
    agent = Agent(organization=organization, site=site, name=name, slots=slots, created_by=by)
    agent.full_clean()
    try:
        with transaction.atomic():
            agent.save()
            code = _make_code(agent, by=by)
            presence.announce("agent.changed", agent)
    except IntegrityError:
        raise name_taken(agent) from None
    return agent, code


def new_code(agent: Agent, *, by: User) -> str:
    """Give a fresh code for an agent; the earlier ones end. Used to set a program up again."""
    if agent.retired_at is not None:
        raise Refused("retired", f"Agent “{agent}” is retired and cannot be enrolled again.")
    with transaction.atomic():
        agent.codes.filter(used_at=None).delete()
        return _make_code(agent, by=by)


def _make_code(agent: Agent, *, by: User) -> str:
    """Twelve characters of 31: 59 bits, for one hour, behind the enrolment's rate limit."""
    code = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(3))
    EnrolmentCode.objects.create(
        agent=agent,
        code_hash=tokens.hashed(code),
        expires_at=Now() + CODE_LIFETIME,
        created_by=by,
    )
    return code


def enroll(
    code: str,
    *,
    name: str,
    version: str,
    platform: str,
    tools: list[dict[str, Any]],
    address: str | None,
) -> tuple[Agent, str]:
    """Turn a code into an agent's token, once; the token is stored as a hash only.

    Using the code is one conditional update: of two programs with the same code one is enrolled.
    A token that the agent had before ends here.
    """
    usable = Q(used_at=None, expires_at__gt=Now())
    hashed = tokens.hashed(code.strip().upper())
    found = EnrolmentCode.objects.filter(usable, code_hash=hashed).first()
    if found is None:
        raise Refused("enrolment_refused", _REFUSED, status=403)
    # Only for who has a code: it takes time.
    catalogue.check(tools)
    with transaction.atomic():
        # No join in this update: PostgreSQL would ask it in a subquery, which is not asked again
        # when another program has used the code meanwhile.
        if not EnrolmentCode.objects.filter(usable, pk=found.pk).update(used_at=Now()):
            raise Refused("enrolment_refused", _REFUSED, status=403)
        agent = (
            Agent.objects.select_for_update(of=["self"], no_key=True)
            .select_related("organization", "site")
            .get(pk=found.agent_id)
        )
        if agent.retired_at is not None:
            raise Refused("enrolment_refused", _REFUSED, status=403)
        token, agent.token_hash = tokens.make("agent", agent.public_id)
        agent.next_token_hash, agent.rotating = "", False
        agent.name = name.strip() or agent.name
        agent.version, agent.platform, agent.address = version, platform, address
        agent.enrolled_at = Now()
        try:
            with transaction.atomic():
                agent.save()
        except IntegrityError:
            raise name_taken(agent) from None
        catalogue.advertise(agent, tools)
        presence.seen(agent)
        presence.announce("agent.enrolled", agent)
    agent.refresh_from_db()
    return agent, token


def greet(
    agent: Agent, *, version: str, platform: str, tools: list[dict[str, Any]], address: str | None
) -> list[int]:
    """Take an agent's hello: what it is and can do; gives the ids of its queues."""
    catalogue.check(tools)
    with transaction.atomic():
        Agent.objects.filter(pk=agent.pk).update(
            version=version, platform=platform, address=address
        )
        catalogue.advertise(agent, tools)
        presence.seen(agent)
        presence.announce("agent.changed", agent)
    return catalogue.queues_of(agent)


def change(agent: Agent, *, draining: bool | None = None, **columns: Any) -> None:
    """Give an agent another name or number of slots, or let it drain. A retired one stays."""
    if agent.retired_at is not None:
        raise Refused("retired", f"Agent “{agent}” is retired and is not changed any more.")
    for column, value in columns.items():
        setattr(agent, column, value)
    agent.full_clean(validate_constraints=False)
    try:
        with transaction.atomic():
            if columns:
                agent.save(update_fields=list(columns))
                presence.announce("agent.changed", agent)
            if draining is not None and draining != agent.draining:
                drain(agent, on=draining)
    except IntegrityError:
        raise name_taken(agent) from None


def name_taken(agent: Agent) -> Refused:
    """Say that another agent of the organization has this name."""
    words = f"An agent named “{agent.name}” exists already; choose another name."
    return Refused("name_taken", words, status=422, errors={"name": [words]})


def drain(agent: Agent, *, on: bool) -> None:
    """Let an agent finish what it has and take nothing new (or take runs again)."""
    with transaction.atomic():
        Agent.objects.filter(pk=agent.pk).update(draining=on)
        agent.draining = on
        presence.announce("agent.changed", agent)


def pause(agent: Agent, *, until: datetime, reason: str, by: User) -> None:
    """Let an agent take nothing new until a time; what it has it finishes."""
    with transaction.atomic():
        pauses.begin(agent, until=until, reason=reason, by=by, check=_check_in_use)
        presence.announce("agent.changed", agent)


def resume(agent: Agent) -> None:
    """End the pause of an agent before its time; nothing happens where none lasts."""
    with transaction.atomic():
        if pauses.end(agent):
            presence.announce("agent.changed", agent)


def _check_in_use(agent: Agent) -> None:
    if agent.retired_at is not None:
        raise Refused("retired", f"Agent “{agent}” is retired and takes no runs any more.")


def rotate(agent: Agent) -> None:
    """Ask an agent to change its token; its program does so at its next heartbeat.

    The token of now works until the agent has used another one.
    """
    with transaction.atomic():
        if not Agent.objects.filter(pk=agent.pk, retired_at=None).update(rotating=True):
            raise Refused("retired", f"Agent “{agent}” is retired: its token has ended.")
        agent.rotating = True
        presence.announce("agent.changed", agent)


def next_token(agent: Agent) -> str:
    """Give an agent the token that takes the place of its own at its first use.

    Asked for again, as after a lost answer, another one is given, and the one before it is void.
    """
    token, hashed = tokens.make("agent", agent.public_id)
    Agent.objects.filter(pk=agent.pk, retired_at=None).update(next_token_hash=hashed)
    return token


def promote_token(agent: Agent) -> bool:
    """End an agent's token, since it came with the next one; False where that is void by now.

    Of two requests that bring it at once, the second finds it in its place.
    """
    new = agent.next_token_hash
    with transaction.atomic():
        if Agent.objects.filter(pk=agent.pk, next_token_hash=new, retired_at=None).update(
            token_hash=new, next_token_hash="", rotating=False
        ):
            agent.token_hash, agent.next_token_hash, agent.rotating = new, "", False
            presence.announce("agent.changed", agent)
            return True
    return Agent.objects.filter(pk=agent.pk, token_hash=new, retired_at=None).exists()


def when_retired(act: Callable[[Agent, User], None]) -> None:
    """Let an app to the right act in the transaction that retires an agent."""
    if act not in _when_retired:
        _when_retired.append(act)


def retire(agent: Agent, *, by: User) -> None:
    """End an agent: its token from the next request on, its codes, and the runs that it holds."""
    with transaction.atomic():
        if not Agent.objects.filter(pk=agent.pk, retired_at=None).update(
            retired_at=Now(), token_hash="", next_token_hash="", rotating=False
        ):
            raise Refused("retired", f"Agent “{agent}” is retired already.")
        agent.codes.filter(used_at=None).delete()
        for act in _when_retired:
            act(agent, by)
        presence.announce("agent.retired", agent)
    agent.refresh_from_db()
