"""How an idle agent learns that there may be work, without asking all the time."""

import logging
import random
from collections.abc import Iterable

import httpx

from yardmaster.agent.state import Agent
from yardmaster.client import Doing, what_to_do

log = logging.getLogger("yardmaster")

COME_BACK_WITHIN_S = 10.0
# A portal without a waiting line may get one; until then the slow poll finds the work.
LOOK_AGAIN_S = 120.0


def listen_until_ended(agent: Agent) -> None:
    """Keep one waiting connection open, and wake the claims at every hint."""
    while not agent.ending.is_set():
        wait = random.uniform(0.0, COME_BACK_WITHIN_S)
        try:
            with agent.client.stream("/live/agent") as response:
                if response.status_code == 200:
                    _hear(agent, response.iter_lines())
                elif what_to_do(response.status_code) is Doing.STOP_WORK:
                    if agent.client.has_said_all(response):
                        agent.refuse_token()
                        return
                    # The token was changed meanwhile.
                    wait = 0.0
                elif what_to_do(response.status_code) is not Doing.TRY_AGAIN:
                    wait += LOOK_AGAIN_S
        except (httpx.RequestError, httpx.StreamError) as error:
            log.debug("The waiting connection ended: %s", error)
        agent.live = False
        agent.sleep(wait)


def _hear(agent: Agent, lines: Iterable[str]) -> None:
    """Read a stream of events to its end."""
    agent.live = True
    # What came up while nobody listened.
    agent.wake.set()
    work = False
    for line in lines:
        if agent.ending.is_set():
            return
        if line.startswith("event:"):
            work = line.removeprefix("event:").strip() == "work"
        elif not line and work:
            work = False
            agent.wake.set()
