"""A connection has one line in the log, however it ends and wherever it had got to."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import CapturingLogger

from agents.models import Agent
from config.live import access
from config.live.doors import Live

pytestmark = pytest.mark.once


class StubHub:
    """Takes every stream in, and keeps the last one."""

    stream: Any = None

    def end_of_stream(self) -> float:
        return 0

    async def add(self, stream: Any) -> None:
        self.stream = stream

    async def wait_for_work(self, *_: Any) -> bool:
        return False

    def remove(self, stream: Any) -> None:
        pass


async def goes_well(*_: Any) -> None:
    pass


async def hangs(*_: Any) -> None:
    await asyncio.Event().wait()


async def client_gone(*_: Any) -> None:
    raise OSError


async def breaks(*_: Any) -> None:
    raise ZeroDivisionError


async def finds_an_agent(*_: Any) -> Agent:
    return Agent(pk=1, public_id=uuid4())


async def disconnect() -> dict[str, str]:
    return {"type": "http.disconnect"}


def cancelled(hub: StubHub, task: asyncio.Task[None]) -> None:
    task.cancel()


def cut_off(hub: StubHub, task: asyncio.Task[None]) -> None:
    hub.stream.end(b"", why="time_over", now=0)
    hub.stream.cut_off()


@pytest.mark.parametrize(
    ("logged", "changed", "escapes"),
    [
        ((401, "refused"), {"ask": goes_well}, None),
        ((401, "refused"), {"ask": goes_well, "send": client_gone}, None),
        ((401, "refused"), {"ask": goes_well, "send": hangs, "then": cancelled}, "CancelledError"),
        ((500, "refused"), {"ask": breaks}, None),
        ((500, "stopping"), {"ask": hangs, "then": cancelled}, "CancelledError"),
        ((200, "left"), {"receive": disconnect}, None),
        ((200, "left"), {"send": client_gone}, None),
        ((200, "left"), {"receive": client_gone}, None),
        ((200, "stalled"), {"send": hangs, "then": cut_off}, None),
        ((200, "stalled"), {"then": cut_off}, None),
        ((200, "stopping"), {"send": hangs, "then": cancelled}, "CancelledError"),
        ((200, "stopping"), {"then": cancelled}, "CancelledError"),
        ((200, "failed"), {"send": breaks}, "ZeroDivisionError"),
        ((200, "failed"), {"receive": breaks}, "ZeroDivisionError"),
    ],
)
def test_every_end_has_its_line(
    monkeypatch: pytest.MonkeyPatch,
    logged: tuple[int, str],
    changed: dict[str, Any],
    escapes: str | None,
) -> None:
    async def story() -> BaseException | None:
        case = {"ask": finds_an_agent, "send": goes_well, "receive": hangs, "then": None} | changed
        hub: Any = StubHub()
        live = Live()
        monkeypatch.setattr(live, "_ask", case["ask"])
        scope = {"method": "GET", "headers": [(b"host", b"testserver")], "client": ("192.0.2.1", 1)}
        answered = live._answer(hub, "/live/agent", scope, case["receive"], case["send"])
        task = asyncio.create_task(answered)
        for _ in range(5):  # as far as it comes by itself
            await asyncio.sleep(0)
        if case["then"]:
            case["then"](hub, task)
        await asyncio.wait([task])
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    log = CapturingLogger()
    monkeypatch.setattr(access, "access", log)
    error = asyncio.run(story())
    assert [(call.kwargs["status"], call.kwargs["ended"]) for call in log.calls] == [logged]
    assert (error and type(error).__name__) == escapes
