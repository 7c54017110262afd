"""Which agent asks: a bearer token, looked up by its public id and compared in constant time."""

from __future__ import annotations

from sites import tokens

from .models import Agent


def agent_of_token(token: str) -> Agent | None:
    """Find the agent in use whose token this is. Read at every request: a revoked token ends at once."""
    public_id = tokens.public_id_in("agent", token)
    if public_id is None:
        return None
    agent = Agent.objects.filter(public_id=public_id, retired_at=None).first()
    return agent if agent is not None and tokens.matches(token, agent.token_hash) else None


def bearer(header: str) -> str:
    """Read the token in an `Authorization` header; empty when it holds none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
