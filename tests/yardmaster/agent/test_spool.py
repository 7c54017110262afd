"""What the spool still knows when it is opened again."""

import stat
import uuid
from pathlib import Path

import pytest

from yardmaster.agent.spool import KeptClaim, KeptRun, Spool

pytestmark = pytest.mark.once

RUN, OTHER = str(uuid.uuid4()), str(uuid.uuid4())


def test_a_claim_is_kept_until_its_last_run_is_settled(tmp_path: Path) -> None:
    claim = Spool(tmp_path).new_claim()
    assert Spool(tmp_path).claims() == [KeptClaim(claim, ())]
    Spool(tmp_path).note_runs(claim, [KeptRun(RUN, 1), KeptRun(OTHER, 2)])
    assert Spool(tmp_path).claims() == [KeptClaim(claim, (KeptRun(RUN, 1), KeptRun(OTHER, 2)))]
    Spool(tmp_path).settle(RUN, 1, claim)
    assert Spool(tmp_path).claims() == [KeptClaim(claim, (KeptRun(OTHER, 2),))]
    Spool(tmp_path).settle(OTHER, 2, claim)
    assert Spool(tmp_path).claims() == []


def test_a_result_is_kept_until_it_is_settled(tmp_path: Path) -> None:
    body = {"status": "failed", "message": "…"}
    kept = Spool(tmp_path).keep_result(RUN, 1, "c", body)
    assert Spool(tmp_path).results() == [kept]
    Spool(tmp_path).settle(RUN, 1, "c")
    assert Spool(tmp_path).results() == []


def test_a_damaged_claim_is_still_asked_for_and_a_damaged_result_put_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    claim = spool.new_claim()
    spool.keep_result(RUN, 1, claim, {})
    for path in (tmp_path / "spool").rglob("*.json"):
        path.write_text("{half")
    assert Spool(tmp_path).claims() == [KeptClaim(claim, ())]
    assert Spool(tmp_path).results() == []
    assert len(list((tmp_path / "spool").rglob("*.damaged"))) == 2


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "agent")
    spool.keep_result(RUN, 1, spool.new_claim(), {})
    for path in (tmp_path / "agent").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_id_does_not_choose_where_a_file_goes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="UUID"):
        Spool(tmp_path).keep_result("../../escape", 1, "c", {})
