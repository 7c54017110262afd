"""Decides how one open answer is written to: never blocking, bounded, gone when its client is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from sites.models import Event

from .audience import Subscriber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

Why = Literal[
    "refused",  # nobody was let in
    "left",  # the client went
    "time_over",  # as every stream's is, once
    "stopping",  # the process
    "replaced",  # by newer ones of the same agent or person
    "access_changed",  # the person comes back with what they may see now
    "retired",  # the agent
    "stalled",  # the client took not even the end
    "failed",  # here
]

OK = b": ok\n\n"
COMMENT = b":\n\n"
WORK = b"event: work\ndata: {}\n\n"
RESYNC = b"event: resync\ndata: {}\n\n"
BYE = b"event: bye\ndata: {}\n\n"

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
# Messages kept for a client that does not read; one more, and it is told to fetch everything.
WAITING_MESSAGES = 64
# A client that does not take the end of its stream is cut off after this.
PARTING_S = 5.0


def message(event: Event, *, mine: bool) -> bytes:
    """Write an Event, or an unsaved hint, as one message of the stream."""
    data = {
        "kind": event.kind,
        "id": str(event.subject_id),
        "job": event.data.get("job"),
        "mine": mine,
        "at": event.at.isoformat() if event.pk else None,
    }
    number = f"id: {event.pk}\n" if event.pk else ""
    return f"{number}event: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()


class Stream:
    """One open `text/event-stream`: thousands of them wait, so it holds as little as it can.

    The request's own task waits for the client to go. What is written goes out in a task that
    lives only while there is something to send.
    """

    __slots__ = (
        "_opened",
        "_parts",
        "_send",
        "_waiter",
        "_writer",
        "ended",
        "ends_at",
        "gone",
        "slot",
        "why",
    )

    def __init__(self, send: Send, *, ends_at: float) -> None:
        self._send = send
        self._parts: list[bytes] = []
        self._opened = False
        self._writer: asyncio.Task[None] | None = None
        self._waiter: asyncio.Task[Any] | None = None
        self.ended = False  # nothing more is written
        self.gone = False  # the hub has forgotten it
        self.ends_at = ends_at
        self.slot = 0
        self.why: Why = "left"

    def write(self, data: bytes) -> None:
        """Send this soon; when the client has not taken the last messages, it loses them all."""
        if self.ended:
            return
        if len(self._parts) >= WAITING_MESSAGES:
            self._parts[:] = [RESYNC]
        self._parts.append(data)
        self._start_writing()

    def end(self, last_words: bytes, *, why: Why, now: float) -> None:
        """End the stream once all that was written has gone out."""
        if self.ended:
            return
        self.write(last_words)
        self.ended = True
        self.why = why
        self.ends_at = now + PARTING_S

    def cut_off(self) -> None:
        """Drop the connection of a client that takes nothing more."""
        if self._waiter:
            self.why = "stalled"
            self._waiter.cancel()

    async def serve(self, receive: Receive, first_words: bytes) -> None:
        """Begin the answer, and stay until the client has gone or the stream has ended."""
        self._waiter = asyncio.current_task()
        try:
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            self._parts.insert(0, first_words)
            self._opened = True
            self._start_writing()
            while (await receive())["type"] != "http.disconnect":
                pass  # a body that nobody asked for
        except asyncio.CancelledError:
            if not self.ended:
                self.why = "stopping"  # nobody but the server cancels one that is open
                raise
        except OSError:
            pass  # as in `_write`
        except BaseException:
            self.why = "failed"
            raise
        finally:
            self.ended = True
            if self._writer:
                self._writer.cancel()

    def _start_writing(self) -> None:
        if self._opened and self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            over = False
            while self._parts and not over:
                data, over = b"".join(self._parts), self.ended
                self._parts.clear()
                await self._send(
                    {"type": "http.response.body", "body": data, "more_body": not over}
                )
        except OSError:
            pass  # some servers say so when the client has gone; `receive` says it too
        finally:
            self._writer = None


class AgentStream(Stream):
    """An agent that waits for work."""

    __slots__ = ("agent_id", "public_id", "queues")

    def __init__(self, send: Send, *, ends_at: float, agent_id: int, public_id: UUID) -> None:
        super().__init__(send, ends_at=ends_at)
        self.agent_id = agent_id
        self.public_id = public_id
        self.queues: tuple[int, ...] = ()

    def hint(self) -> None:
        """Say that there may be work; once is enough until it has gone out."""
        if WORK not in self._parts:
            self.write(WORK)


class PageStream(Stream):
    """A page, or a program, of a person."""

    __slots__ = ("who",)

    def __init__(self, send: Send, *, ends_at: float, who: Subscriber) -> None:
        super().__init__(send, ends_at=ends_at)
        self.who = who
