"""How the agent changes its token: both are on disk until it is known which one works."""

import logging
from dataclasses import replace

from yardmaster.agent import config
from yardmaster.agent.state import Agent
from yardmaster.client import PortalError, Unauthorized

log = logging.getLogger("yardmaster")


def rotate(agent: Agent) -> None:
    """Ask the portal for another token and go over to it; after a failure the old one stays."""
    try:
        answer = agent.client.send("POST", "/agent/token", timeout=10.0)
        token = str(answer.body["token"])
    except (PortalError, KeyError) as error:
        # The next heartbeat says again that it is to be changed.
        log.warning("The token was not changed: %s", error)
        return
    _keep(agent, replace(agent.config, next_token=token))
    settle(agent)


def settle(agent: Agent) -> None:
    """Find out whether the next token works, if there is one, and keep the one that does.

    A crash before the end leaves both on disk, and the next start comes here again.
    """
    old, new = agent.config.token, agent.config.next_token
    if not new:
        return
    # Whatever other threads send meanwhile has the new one, and the old one where that is refused.
    agent.client.use_tokens(new, old)
    try:
        agent.client.send_until(
            agent.stopping.is_set, agent.sleep, "POST", "/agent/heartbeat",
            json={"runs": []}, token=new,
        )  # fmt: skip
    except Unauthorized:
        agent.client.use_tokens(old)
        _keep(agent, replace(agent.config, next_token=""))
        log.warning("The portal did not accept the token that it gave; the one before it stays.")
    except PortalError as error:
        # Told to end, or a portal that is out of order: both tokens stay as they are.
        log.warning("Whether the new token works is not known yet: %s", error)
    else:
        _keep(agent, replace(agent.config, token=new, next_token=""))
        agent.client.use_tokens(new)
        log.info("The token was changed.")


def _keep(agent: Agent, changed: config.Config) -> None:
    config.write(agent.folder, changed)
    agent.config = changed
