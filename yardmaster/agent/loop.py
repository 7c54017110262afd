"""In which order an agent starts, and how it ends."""

import logging
import os
import platform
import shutil
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from yardmaster import __version__
from yardmaster.agent import config, rotation
from yardmaster.agent.beats import beat_until_ended
from yardmaster.agent.claims import claim_until_stopped, resume
from yardmaster.agent.held import Reason
from yardmaster.agent.results import finish
from yardmaster.agent.state import Agent
from yardmaster.agent.wake import listen_until_ended
from yardmaster.agent.work import masker_for, stopped_body, work_folder
from yardmaster.client import Client, PortalError, Unauthorized
from yardmaster.sdk import Tool
from yardmaster.tools import installed_tools

log = logging.getLogger("yardmaster")

# After the grace, the time for work to notice that it has to stop and for its reports to go out.
REPORTING_S = 2.0


def describe(tools: Mapping[str, Tool]) -> dict[str, object]:
    """Return what enrolment and hello say about this program and machine."""
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    return {
        "version": __version__,
        "platform": f"{machine}, Python {platform.python_version()}"[:200],
        "tools": [tool.advertised() for tool in tools.values()],
    }


def run(folder: Path, *, grace_s: float, insecure_http: bool = False) -> int:
    """Run the agent of a folder until it is told to end, and return the exit status.

    Raises ConfigError when the folder holds no enrolment, or another process runs it.
    """
    settings = config.read(folder)
    tools = installed_tools(folder)
    with config.lock(folder):
        # What runs of an earlier process left when they were killed.
        shutil.rmtree(work_folder(folder), ignore_errors=True)
        client = Client(
            settings.portal,
            settings.token,
            insecure_http=settings.insecure_http or insecure_http,
        )
        agent = Agent(folder, settings, client, tools)
        _listen_to_signals(agent)
        agent.write_status()
        agent.spawn("claims", partial(_live, agent))
        agent.stopping.wait()
        _wind_up(agent, grace_s)
        agent.write_status()
    if agent.fatal is None:
        log.info("Stopped.")
        return 0
    message, status = agent.fatal
    log.error("%s", message)
    return status


def _live(agent: Agent) -> None:
    """Greet the portal, then keep beating, listening and claiming."""
    rotation.settle(agent)
    try:
        answer = agent.client.send_until(
            agent.stopping.is_set,
            _say_why_waiting(agent),
            "POST",
            "/agent/hello",
            json=describe(agent.tools),
        )
    except Unauthorized:
        agent.refuse_token()
        return
    except PortalError as error:
        if not agent.stopping.is_set():
            agent.fail(f"{agent.client.portal} did not take this agent's hello: {error}", 1)
        return
    agent.settings.take(answer.body)
    log.info(
        "Agent %s at %s, %d at a time.",
        answer.body.get("name") or agent.config.name,
        agent.client.portal,
        agent.slots(),
    )
    agent.write_status()
    agent.spawn("heartbeat", partial(beat_until_ended, agent))
    resume(agent)
    agent.spawn("wake", partial(listen_until_ended, agent))
    claim_until_stopped(agent)


def _say_why_waiting(agent: Agent) -> Callable[[float], None]:
    said: list[str] = []

    def sleep(seconds: float) -> None:
        error = agent.client.contact.last_error
        if error not in said:
            said.append(error)
            log.warning("Waiting for the portal. %s", error)
            agent.write_status()
        agent.sleep_until_stopping(seconds)

    return sleep


def _wind_up(agent: Agent, grace_s: float) -> None:
    """Let running work finish, then stop it and report it; what cannot go out stays in the spool.

    A portal that refused the token is told nothing more.
    """
    if agent.fatal is None:
        working = agent.working()
        if working:
            log.info("Stopping: %d run(s) may finish within %g s.", len(working), grace_s)
        agent.write_status()
        agent.wait_for_work(grace_s)
        for held in agent.working():
            held.stop(Reason.SHUTDOWN)
        agent.wait_for_work(REPORTING_S / 2)
        for held in agent.working():
            # Its work does not listen. It ends with this process, and its report must not.
            body, masker = stopped_body(Reason.SHUTDOWN), masker_for(agent.tools, held.run)
            agent.spawn(f"end {held.id[:8]}", partial(finish, agent, held, body, masker))
        agent.wait_for_work(REPORTING_S, delivered=True)
    agent.ending.set()


def _listen_to_signals(agent: Agent) -> None:
    def told_to_end(number: int, frame: FrameType | None) -> None:
        if agent.stopping.is_set():
            # Whoever asks twice wants it now; the spool is on disk at every moment.
            os._exit(1)
        agent.stopping.set()
        agent.wake.set()

    signal.signal(signal.SIGTERM, told_to_end)
    signal.signal(signal.SIGINT, told_to_end)
