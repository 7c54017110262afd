"""The agent as a process: what it does on its way through a run, and when something breaks."""

import json
import os
import signal
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import PATIENCE_S, TOKEN, Portal, Run, until
from yardmaster.agent import clock, config, loop
from yardmaster.agent.held import Held
from yardmaster.agent.spool import KeptRun, Spool
from yardmaster.agent.state import Agent
from yardmaster.client import Client
from yardmaster.tools import installed_tools

pytestmark = [pytest.mark.once, pytest.mark.faults]

BEAT = "POST /api/v1/agent/heartbeat"


def files_in(home: Path, kind: str) -> list[Path]:
    return sorted((home / "spool" / kind).glob("*.json"))


def is_claimed(home: Path, run: Run) -> bool:
    """Say whether the agent's spool has a claim of the run; it may lose one meanwhile."""
    for path in files_in(home, "claims"):
        with suppress(FileNotFoundError):
            if run.id in path.read_text():
                return True
    return False


def test_a_backup_from_claim_to_result(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: run.result)
    assert run.statuses == ["claimed", "running", "validating", "uploading", "completed"]
    assert run.result == {
        "status": "completed",
        "message": "2 files, 20 bytes: 2 added",
        "counts": {"total": 2, "successful": 2, "failed": 0, "skipped": 0},
    }
    assert sorted(entry.path for entry in run.manifest) == ["plc/main.st", "readme.txt"]
    assert b"2 files, 20 bytes; 2 read" in run.log

    # Nothing changed: one tree id moves, and nothing else.
    portal.base_tree = run.tree
    again = portal.add(plant)
    portal.wait(lambda: again.result)
    assert again.statuses == ["claimed", "running", "completed"]
    assert again.result["message"] == "2 files, 20 bytes: nothing changed"
    assert len(portal.asked("/manifest$")) == 1
    until(lambda: not files_in(home, "results"))

    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 0


def test_the_claim_is_on_disk_before_it_is_sent(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    on_disk: list[bool] = []
    claim = portal.claim

    def look(body: dict[str, Any]) -> Any:
        on_disk.append((home / "spool" / "claims" / f"{body['claim_id']}.json").exists())
        return claim(body)

    portal.claim = look  # type: ignore[method-assign]
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: run.result)
    assert on_disk
    assert all(on_disk)


def test_a_lost_claim_answer_is_asked_for_again_with_the_same_id(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("claims$", 0, after=True)
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: run.result)
    first, second = portal.asked("claims$")[:2]
    assert first[2]["claim_id"] == second[2]["claim_id"]
    assert (run.attempt, run.started) == (1, 1)


def test_no_work_before_running_is_answered(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    rule = portal.fail("PATCH", 503, times=None)
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: len(portal.asked("PATCH")) >= 2)
    assert not portal.asked("attempts/1/(snapshot|log|result)")
    portal.unfail(rule)
    portal.wait(lambda: run.result)
    assert run.result["status"] == "completed"


def test_slots_limit_what_is_claimed(portal: Portal, plant: Path, start_agent: StartAgent) -> None:
    rule = portal.fail("snapshot$", 503, times=None)
    runs = [portal.add(plant) for _ in range(3)]
    start_agent()
    portal.wait(lambda: len(portal.asked("snapshot$")) >= 2)
    portal.wait(lambda: len(portal.asked(BEAT)) >= 3)
    assert [run.status for run in runs].count("pending") == 1
    portal.unfail(rule)
    for run in runs:
        portal.wait(partial(getattr, run, "result"))


def test_a_draining_agent_claims_nothing(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.settings["drain"] = True
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: len(portal.asked(BEAT)) >= 3)
    assert run.status == "pending"
    portal.settings["drain"] = False
    portal.wait(lambda: run.result)


def test_a_hint_wakes_an_agent_that_hardly_polls(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.settings["poll_s"] = 3600
    portal.live = True
    start_agent()
    # It looks once when it starts and once when it listens; then it only waits.
    portal.wait(lambda: portal.asked("live/agent"))
    portal.wait(lambda: len(portal.asked("claims$")) >= 2)
    asked = len(portal.asked("claims$"))
    run = portal.add(plant)
    portal.hints.set()
    portal.wait(lambda: run.result)
    assert run.status == "completed"
    assert len(portal.asked("claims$")) > asked


@pytest.mark.parametrize("code", ["stale_attempt", "already_final"])
def test_a_run_that_was_lost_is_stopped_and_forgotten(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent, code: str
) -> None:
    portal.fail("manifest$", 503, times=None)
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: portal.asked("manifest$"))
    with portal.lock:
        if code == "stale_attempt":
            run.attempt = 2
        else:
            run.move("timed_out")
    # A heartbeat's answer says it; nothing is reported, and nothing is kept for later.
    until(lambda: not is_claimed(home, run))
    assert not portal.asked("result$")


def test_a_move_refused_as_stale_stops_the_run(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("PATCH", 409, code="stale_attempt")
    run = portal.add(plant)
    start_agent()
    portal.wait(lambda: portal.asked("PATCH"))
    until(lambda: not is_claimed(home, run))
    assert not portal.asked("attempts/1/")


def test_work_stops_when_the_lease_is_lost(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.settings["lease_s"] = 1
    run = portal.add(plant)
    # The portal is gone, except that it takes a report in the end.
    portal.fail("manifest$", 503, times=None)
    portal.fail("heartbeat$", 503, times=None)
    start_agent()
    portal.wait(lambda: run.result)
    assert run.result["status"] == "failed"
    assert "lost contact" in run.result["message"]


def test_beats_keep_a_lease_that_is_shorter_than_the_work(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.settings["lease_s"] = 2
    rule = portal.fail("manifest$", 503, times=None)
    run = portal.add(plant)
    start_agent()
    # More beats than fit into one lease.
    portal.wait(lambda: len([r for r in portal.asked(BEAT) if r[2]["runs"]]) >= 14)
    portal.unfail(rule)
    portal.wait(lambda: run.result)
    assert run.result["status"] == "completed"


def test_the_time_limit_stops_work_and_leaves_the_ending_to_the_portal(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    portal.fail("manifest$", 503, times=None)
    run = portal.add(plant, run_timeout_s=0.5)
    start_agent()
    portal.wait(lambda: b"time limit is over" in run.log)
    assert not portal.asked("result$")
    with portal.lock:
        run.move("timed_out")
    until(lambda: not is_claimed(home, run))
    assert not portal.asked("result$")


def test_a_stopped_agent_that_comes_back_late_changes_nothing(
    portal: Portal, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    portal.settings["lease_s"] = 1
    rule = portal.fail("seal$", 503, times=None)
    run = portal.add(plant)
    agent = start_agent()
    portal.wait(lambda: portal.asked("seal$"))
    agent.send_signal(signal.SIGSTOP)
    with portal.lock:
        run.move("timed_out")
    portal.unfail(rule)
    agent.send_signal(signal.SIGCONT)
    until(lambda: not is_claimed(home, run))
    until(lambda: not files_in(home, "results"))
    assert (run.status, run.sealed) == ("timed_out", False)


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
