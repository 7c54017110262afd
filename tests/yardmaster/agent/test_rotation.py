"""The agent changes its token while it works, whatever breaks on the way."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S
from tests.yardmaster.answers import TOKEN
from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal
from yardmaster.agent import config

pytestmark = [pytest.mark.once, pytest.mark.faults]


def test_it_goes_over_to_the_new_token_and_keeps_working(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    agent = start_agent()
    portal.wait(lambda: portal.asked("heartbeat$"))
    # The first answer is lost: the portal has made a token that the agent never saw.
    portal.fail("agent/token$", 503, times=1)
    portal.settings["rotate"] = True
    portal.wait(lambda: portal.current != TOKEN)
    run = portal.add(plant)
    portal.wait(lambda: run.result)
    assert run.result["status"] == "completed"
    assert portal.accepted == {portal.current}
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0
    kept = config.read(home)
    assert (kept.token, kept.next_token) == (portal.current, "")


@pytest.mark.parametrize("works", ["old", "both", "new"])
def test_a_crash_on_the_way_leaves_a_token_that_works(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent, works: str
) -> None:
    """Killed after both were written: before the portal's, before its first use, and after it."""
    given = f"{TOKEN}-given"
    config.write(home, replace(config.read(home), next_token=given))
    if works == "both":
        portal.next, portal.accepted = given, {TOKEN, given}
    elif works == "new":
        portal.current, portal.accepted = given, {given}
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: run.result)
    assert run.result["status"] == "completed"
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0
    kept = config.read(home)
    assert (kept.token, kept.next_token) == (TOKEN if works == "old" else given, "")
