"""How an agent ends: killed, told to stop, refused; and what it reports of what it held."""

import json
import os
import signal
import uuid
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S, until
from tests.yardmaster.agent.spools import BEAT, files_in, is_claimed
from tests.yardmaster.answers import TOKEN
from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal
from yardmaster.agent import clock, config, loop
from yardmaster.agent.held import Held
from yardmaster.agent.spool import KeptRun, Spool
from yardmaster.agent.state import Agent
from yardmaster.client import Client
from yardmaster.tools import installed_tools

pytestmark = [pytest.mark.once, pytest.mark.faults]


@pytest.mark.parametrize(
    "where", ["snapshot$", "manifest$", "objects$", "seal$"], ids=lambda where: where.strip("$")
)
def test_killed_while_working_it_reports_agent_restarted(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent, where: str
) -> None:
    portal.fail(where, 503, times=None)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: portal.asked(where))
    agent.kill()
    agent.wait()
    start_agent()
    portal.wait(lambda: run.result)
    assert (run.result["status"], run.result["reason"]) == ("failed", "agent_restarted")
    assert run.started == 1
    until(lambda: not files_in(home, "results"))


def test_killed_before_its_result_arrived_it_sends_the_same_one_again(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    rule = portal.fail("result$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: portal.asked("result$"))
    agent.kill()
    agent.wait()
    [kept] = files_in(home, "results")
    body = json.loads(kept.read_text())["body"]
    assert body["status"] == "completed"
    portal.unfail(rule)
    start_agent()
    portal.wait(lambda: run.result)
    assert run.result == body
    assert run.started == 1
    until(lambda: not files_in(home, "results"))


def test_killed_after_its_result_arrived_it_only_repeats_it(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    rule = portal.fail("result$", 0, times=None, after=True)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: run.result)
    agent.kill()
    agent.wait()
    portal.unfail(rule)
    before = dict(run.result or {})
    start_agent()
    until(lambda: not files_in(home, "results"))
    assert (run.result, run.late) == (before, None)
    assert run.statuses.count("completed") == 1


def test_killed_before_it_began_it_begins_once(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    rule = portal.fail("PATCH", 503, times=None)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: portal.asked("PATCH"))
    agent.kill()
    agent.wait()
    portal.unfail(rule)
    start_agent()
    portal.wait(lambda: run.result)
    assert (run.result["status"], run.attempt, run.started) == ("completed", 1, 1)


def test_a_claim_that_is_another_attempts_by_now_is_reported_and_dropped(
    portal: Portal, home: Path, start_agent: StartAgent
) -> None:
    spool = Spool(home)
    claim = spool.new_claim()
    spool.note_runs(claim, [KeptRun(str(uuid.uuid4()), 1)])
    portal.fail("claims$", 409, code="stale_attempt")
    start_agent()
    [asked] = portal.wait(lambda: portal.asked("result$"))
    assert asked[2]["reason"] == "agent_restarted"
    until(lambda: not (home / "spool" / "claims" / f"{claim}.json").exists())
    until(lambda: not files_in(home, "results"))


def test_a_refused_result_is_reported_as_a_failure(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("result$", 422, detail="The message is too long.")
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: run.result)
    assert run.result["status"] == "failed"
    assert run.result["error"] == "The message is too long."


def test_sigterm_lets_running_work_finish(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    rule = portal.fail("seal$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: portal.asked("seal$"))
    agent.send_signal(signal.SIGTERM)
    later = portal.add(plant)
    beats = len(portal.asked(BEAT))
    # It goes on beating while it winds up.
    portal.wait(lambda: len(portal.asked(BEAT)) >= beats + 2)
    portal.unfail(rule)
    assert agent.wait(PATIENCE_S) == 0
    assert run.result is not None
    assert run.result["status"] == "completed"
    assert later.status == "pending"


def test_after_the_grace_it_reports_what_could_not_finish(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("seal$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent("--grace", "0")
    portal.wait(lambda: portal.asked("seal$"))
    agent.send_signal(signal.SIGINT)
    assert agent.wait(PATIENCE_S) == 0
    assert run.result is not None
    assert run.result["message"] == "The agent was stopped before the run was done."


def test_stopped_without_a_portal_it_keeps_its_report_for_the_next_start(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    seal = portal.fail("seal$", 503, times=None)
    result = portal.fail("result$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent("--grace", "0")
    portal.wait(lambda: portal.asked("seal$"))
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0
    assert len(files_in(home, "results")) == 1
    portal.unfail(seal)
    portal.unfail(result)
    start_agent()
    portal.wait(lambda: run.result)
    assert run.result["message"] == "The agent was stopped before the run was done."


def test_work_that_does_not_listen_is_reported_all_the_same(portal: Portal, home: Path) -> None:
    run = portal.add("/srv", attempt=1, claim_id="c")
    run.move("running")
    client = Client(portal.url, TOKEN)
    agent = Agent(home, config.read(home), client, installed_tools())
    # Held, and nobody will ever call its check().
    agent.hold(Held(portal.shown(run), clock.now()))
    loop._wind_up(agent, 0)
    client.close()
    assert run.result["message"] == "The agent was stopped before the run was done."


def test_a_second_signal_ends_it_at_once(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("seal$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent("--grace", "3600")
    portal.wait(lambda: portal.asked("seal$"))
    agent.send_signal(signal.SIGTERM)
    until(lambda: json.loads((home / "status.json").read_text())["stopping"])
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 1
    assert is_claimed(home, run)


def test_a_refused_token_stops_work_and_keeps_the_spool(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("seal$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: portal.asked("seal$"))
    portal.accepted.clear()
    assert agent.wait(PATIENCE_S) == 77
    assert is_claimed(home, run)
    assert run.result is None
    assert agent.stderr is not None
    assert "does not accept this agent's token" in agent.stderr.read().splitlines()[-1]
    portal.accepted.add(TOKEN)


def test_it_waits_for_a_portal_that_is_not_up_yet(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("hello$", 503, times=2)
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: run.result)
    assert len(portal.asked("hello$")) == 3


def test_a_wrong_address_is_one_clear_line(portal: Portal, start_agent: StartAgent) -> None:
    portal.fail("hello$", 404, times=None)
    agent = start_agent()
    assert agent.wait(PATIENCE_S) == 1
    assert agent.stderr is not None
    assert "did not take this agent's hello" in agent.stderr.read()


def test_only_one_agent_runs_in_a_folder(
    portal: Portal, home: Path, start_agent: StartAgent
) -> None:
    start_agent()
    portal.wait(lambda: portal.asked(BEAT))
    second = start_agent()
    assert second.wait(PATIENCE_S) == 1
    assert second.stderr is not None
    [line] = second.stderr.read().splitlines()
    assert f"An agent is running in {home} already" in line


def test_secrets_reach_the_portal_nowhere(
    portal: Portal, tmp_path: Path, start_agent: StartAgent
) -> None:
    secret = "pa55-of-the-plc"
    folder = tmp_path / f"missing-{secret}"
    run = portal.add(folder, credentials={"user": {"password": secret}})
    other = tmp_path / "there"
    other.mkdir()
    os.mkfifo(other / f"pipe-{secret}")
    second = portal.add(other, credentials={"password": secret})
    start_agent()
    portal.wait(lambda: run.result and second.result)
    assert run.result is not None
    assert "missing-••••" in run.result["message"]
    assert "pipe-••••: it is a pipe" in second.log.decode()
    assert not any(secret.encode() in body for body in portal.bodies)
