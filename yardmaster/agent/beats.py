"""How the agent keeps its runs, and learns which of them it lost."""

import logging
import random

from yardmaster.agent import clock, rotation
from yardmaster.agent.held import Reason
from yardmaster.agent.state import Agent
from yardmaster.client import Answer, PortalAway, PortalError, TryAgain, Unauthorized, pause

log = logging.getLogger("yardmaster")

# For a beat's answer: two of them have to fail within a lease.
LONGEST_WAIT_S = 10.0


def beat_until_ended(agent: Agent) -> None:
    """Send a heartbeat every `heartbeat_s` ±10 % until the agent ends."""
    failures = 0
    while not agent.ending.is_set():
        held = agent.held()
        sent_at = clock.now()
        try:
            answer = agent.client.send(
                "POST",
                "/agent/heartbeat",
                json={"runs": [run.beat() for run in held]},
                anew=True,
                timeout=max(1.0, min(LONGEST_WAIT_S, agent.settings.heartbeat_s)),
            )
        except Unauthorized:
            agent.refuse_token()
            return
        except TryAgain as error:
            failures += 1
            wait = _after_failure(agent, failures, error)
            if isinstance(error, PortalAway):
                # One that asks for a longer pause is away for as long.
                longer = max(0.0, wait - agent.settings.heartbeat_s)
                for run in held:
                    run.renew_while_away(sent_at + longer)
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
