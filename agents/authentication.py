"""Which agent asks: a bearer token, looked up by its public id and compared in constant time."""

from __future__ import annotations

from sites import sql, tokens
from sites.sql import Sql

from . import enrolment
from .models import Agent
from .querysets import takes_none

# Written by hand: every request of every agent begins with it.
_IN_USE = """
    SELECT agent.*, NOT {takes_none} AS takes_runs
    FROM agents_agent AS agent WHERE agent.public_id = %s AND agent.retired_at IS NULL
"""


def agent_of_token(token: str) -> Agent | None:
    """Find the agent in use whose token this is, read at every request: revoking holds at once."""
    public_id = tokens.public_id_in("agent", token)
    if public_id is None:
        return None
    in_use = _IN_USE.format(takes_none=takes_none("agent"))
    for agent in sql.objects(Agent, Sql(in_use, (public_id,))):
        if tokens.matches(token, agent.token_hash):
            return agent
        if tokens.matches(token, agent.next_token_hash):
            return agent if enrolment.promote_token(agent) else None
    return None


def bearer(header: str) -> str:
    """Read the token in an `Authorization` header; empty when it holds none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
