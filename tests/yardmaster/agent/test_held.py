"""How long a run may be worked on."""

from typing import Any

import pytest

from yardmaster.agent import held as held_module
from yardmaster.agent.held import Held, Reason, WorkStopped

pytestmark = pytest.mark.once


class Clock:
    now_s = 1000.0

    def now(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(held_module, "clock", clock)
    return clock


def make(sent_at: float = 1000.0, **fields: Any) -> Held:
    run = {"id": "r", "attempt": 1, "claim_id": "c", "status": "claimed", "lease_s": 60, **fields}
    return Held(run, sent_at)


def test_the_lease_counts_from_when_the_request_was_sent(clock: Clock) -> None:
    held = make(sent_at=990.0)
    clock.now_s = 1049.9
    held.check()
    clock.now_s = 1050.0
    with pytest.raises(WorkStopped) as stopped:
        held.check()
    assert stopped.value.reason is Reason.LEASE_LOST


def test_an_older_answer_does_not_shorten_it(clock: Clock) -> None:
    held = make()
    held.renew(1030.0, 60)
    held.renew(1010.0, 60)
    clock.now_s = 1089.0
    held.check()
    clock.now_s = 1090.0
    assert held.stop_reason() is Reason.LEASE_LOST


def test_a_portal_that_is_away_counts_no_lease(clock: Clock) -> None:
    held = make()
    clock.now_s = 1059.0
    held.renew_while_away(1050.0)
    clock.now_s = 1109.0
    held.check()
    clock.now_s = 1110.0
    assert held.stop_reason() is Reason.LEASE_LOST
    # What has ended stays so: this machine may have slept meanwhile.
    held.renew_while_away(1110.0)
    assert held.stop_reason() is Reason.LEASE_LOST


def test_gone_tops_every_other_reason(clock: Clock) -> None:
    held = make()
    held.stop(Reason.SHUTDOWN)
    held.stop(Reason.LEASE_LOST)
    assert held.stop_reason() is Reason.SHUTDOWN
    held.stop(Reason.GONE)
    assert held.stop_reason() is Reason.GONE


def test_progress_never_falls(clock: Clock) -> None:
    held = make()
    seen = []
    for percent in (10, 5, 40, 120, -3):
        held.advance(percent)
        seen.append(held.progress)
    assert seen == [10, 10, 40, 100, 100]


def test_only_the_first_ending_counts(clock: Clock) -> None:
    held = make()
    assert [held.end({"status": "failed"}), held.end({"status": "completed"})] == [True, False]
