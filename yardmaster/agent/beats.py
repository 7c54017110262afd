"""How the agent keeps its runs, and learns which of them it lost."""

import logging
import random

from yardmaster.agent import rotation
from yardmaster.agent.held import Reason
from yardmaster.agent.state import Agent
from yardmaster.client import Answer, PortalError, TryAgain, Unauthorized, pause

log = logging.getLogger("yardmaster")


def beat_until_ended(agent: Agent) -> None:
    """Send a heartbeat every `heartbeat_s` ±10 % until the agent ends."""
    failures = 0
    while not agent.ending.is_set():
        held = agent.held()
        try:
            answer = agent.client.send(
                "POST",
                "/agent/heartbeat",
                json={"runs": [run.beat() for run in held]},
                timeout=10.0,
            )
        except Unauthorized:
            agent.refuse_token()
            return
        except TryAgain as error:
            failures += 1
            wait = _after_failure(agent, failures, error)
            if failures == 1:
                log.warning("%s", error)
        except PortalError as error:
            log.error("The portal refused a heartbeat: %s", error)
            wait = agent.settings.heartbeat_s
        else:
            if failures:
                log.info("The portal answers again.")
            failures = 0
            _apply(agent, answer)
            if answer.body.get("rotate"):
                rotation.rotate(agent)
            wait = agent.settings.heartbeat_s * random.uniform(0.9, 1.1)
        agent.write_status()
        agent.sleep(wait)


def _after_failure(agent: Agent, failures: int, error: TryAgain) -> float:
    # A beat is never put off longer than the next one would be, unless the portal asks for it.
    jittered = min(pause(failures), agent.settings.heartbeat_s)
    return max(jittered, pause(1, error.retry_after) if error.retry_after else 0.0)


def _apply(agent: Agent, answer: Answer) -> None:
    was_draining = agent.settings.drain
    agent.settings.take(answer.body)
    if was_draining and not agent.settings.drain:
        agent.wake.set()
    held = {run.key: run for run in agent.held()}
    for line in answer.body.get("runs") or ():
        run = held.get((str(line["id"]), int(line["attempt"])))
        if run is None:
            continue
        if line["code"] == "ok":
            run.renew(answer.sent_at, float(line["lease_s"]))
        else:
            run.stop(Reason.GONE)
