"""Tasks that are handed over as files: every one arrives, whole and once."""

from __future__ import annotations

import collections
import multiprocessing
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection

from config import broker
from tests.waiting import until

PRODUCERS, EACH = 4, 200


def connection(folder: Path) -> Any:
    broker.install()
    options = {"data_folder_in": str(folder), "data_folder_out": str(folder)}
    return Connection(
        "filesystem://localhost//",
        transport_options=options | {"control_folder": str(folder / "control")},
    )


def put(folder: Path, producer: int) -> None:
    with connection(folder) as one, one.SimpleQueue("tasks") as queue:
        for number in range(EACH):
            # Long enough not to be written in an instant.
            queue.put({"id": [producer, number], "rest": "x" * 50_000})


@pytest.mark.once
@pytest.mark.faults
def test_a_message_is_taken_whole_while_others_are_written(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    with connection(tmp_path) as one, one.SimpleQueue("tasks") as queue:
        producers = [
            multiprocessing.get_context("spawn").Process(target=put, args=(tmp_path, number))
            for number in range(PRODUCERS)
        ]
        for each in producers:
            each.start()
        taken: collections.Counter[tuple[int, int]] = collections.Counter()

        def all_taken() -> bool:
            with suppress(Empty):
                while message := queue.get_nowait():
                    message.ack()
                    taken[tuple(message.payload["id"])] += 1
            return len(taken) == PRODUCERS * EACH

        until(all_taken)
        for each in producers:
            each.join()
    assert set(taken.values()) == {1}
    assert not list(tmp_path.glob("*.part"))
