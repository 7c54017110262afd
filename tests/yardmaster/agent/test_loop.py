"""The agent as a process: what it does on its way through a run, and when it loses one."""

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE_S, until
from tests.yardmaster.agent.spools import BEAT, files_in, is_claimed
from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal

pytestmark = [pytest.mark.once, pytest.mark.faults]


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
    # The portal is there, and takes a report in the end, but none of its beats.
    portal.fail("manifest$", 503, times=None)
    portal.fail("heartbeat$", 500, times=None)
    start_agent()
    portal.wait(lambda: run.result)
    assert run.result["status"] == "failed"
    assert "lost contact" in run.result["message"]


def test_work_goes_on_while_the_portal_itself_is_away(
    portal: Portal, plant: Path, start_agent: StartAgent
) -> None:
    portal.settings["lease_s"] = 1
    run = portal.add(plant)
    away = [portal.fail(what, 503, times=None) for what in ("manifest$", "heartbeat$")]
    start_agent()
    # More beats than fit into two leases.
    portal.wait(lambda: len([r for r in portal.asked(BEAT) if r[2]["runs"]]) >= 14)
    for rule in away:
        portal.unfail(rule)
    portal.wait(lambda: run.result)
    assert run.result["status"] == "completed"
    assert run.started == 1


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
