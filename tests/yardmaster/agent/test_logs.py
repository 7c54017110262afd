"""A run's log arrives whole, in pieces that the portal takes."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.waiting import PATIENCE_S
from tests.yardmaster.answers import TOKEN, Run
from tests.yardmaster.portal import Portal
from yardmaster.agent.logs import LogStream, cut_piece
from yardmaster.agent.masking import Masker
from yardmaster.client import Client

pytestmark = pytest.mark.once


@pytest.fixture
def run(portal: Portal) -> Run:
    run = portal.add("/srv", attempt=1)
    run.move("running")
    return run


StreamFor = Callable[..., LogStream]


@pytest.fixture
def stream_for(portal: Portal) -> Iterator[StreamFor]:
    client = Client(portal.url, TOKEN)

    def make(run: Run, secrets: Iterable[str] = ()) -> LogStream:
        return LogStream(client, f"/agent/runs/{run.id}/attempts/1", Masker(secrets), 1024)

    yield make
    client.close()


def close(stream: LogStream) -> None:
    stream.close(lambda: False, PATIENCE_S)


def test_it_arrives_in_pieces_between_characters(
    portal: Portal, run: Run, stream_for: StreamFor
) -> None:
    stream = stream_for(run)
    text = "".join(f"{number}: äöü…𝔘\n" for number in range(500))
    stream.write(text)
    close(stream)
    assert run.log.decode() == text
    sizes = [len(body["text"].encode()) for _, _, body in portal.asked("log$")]
    assert len(sizes) > 5
    assert max(sizes) <= 1024


def test_lines_show_up_while_the_run_goes_on(
    portal: Portal, run: Run, stream_for: StreamFor
) -> None:
    stream = stream_for(run)
    stream.write("first\n")
    portal.wait(lambda: run.log == b"first\n")
    assert run.result is None
    stream.write("second\n")
    portal.wait(lambda: run.log == b"first\nsecond\n")
    close(stream)
    assert [body["text"] for _, _, body in portal.asked("log$")] == ["first\n", "second\n"]


def test_a_piece_whose_answer_was_lost_is_not_there_twice(
    portal: Portal, run: Run, stream_for: StreamFor
) -> None:
    portal.fail("log$", 0, after=True)
    stream = stream_for(run)
    stream.write("one\n")
    close(stream)
    assert run.log == b"one\n"
    assert len(portal.asked("log$")) == 2


def test_it_goes_on_from_the_length_that_the_portal_has(
    portal: Portal, run: Run, stream_for: StreamFor
) -> None:
    run.log = b"0123"
    stream = stream_for(run)
    stream.write("0123456789\n")
    close(stream)
    assert run.log == b"0123456789\n"


def test_a_portal_that_contradicts_itself_ends_the_log_only(
    portal: Portal, run: Run, stream_for: StreamFor
) -> None:
    portal.fail("log$", 416, times=None, code="offset_mismatch", length=0)
    stream = stream_for(run)
    stream.write("text\n")
    close(stream)
    assert len(portal.asked("log$")) == 1


def test_what_no_database_keeps_is_replaced(
    portal: Portal, run: Run, stream_for: StreamFor
) -> None:
    stream = stream_for(run)
    stream.write("nul \0 and half a pair \ud800\n")
    close(stream)
    assert run.log.decode() == "nul � and half a pair ?\n"


def test_a_secret_across_two_writes_and_pieces_is_masked(
    portal: Portal, run: Run, stream_for: StreamFor
) -> None:
    stream = stream_for(run, ["top-secret"])
    stream.write("a" * 1020 + "top-")
    stream.write("secret\n")
    close(stream)
    assert run.log.decode() == "a" * 1020 + "••••\n"


@pytest.mark.parametrize(
    ("limit", "piece"), [(3, "aä"), (2, "a"), (1, "a"), (6, "aä€"), (9, "aä€")]
)
def test_pieces_are_cut_between_characters(limit: int, piece: str) -> None:
    assert cut_piece("aä€".encode(), limit).decode() == piece
