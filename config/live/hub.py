"""Decides who is woken when: the waiting streams of one process, kept in one event loop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import OperationalError

from agents.catalogue import queues_of, takers_of
from agents.models import Agent
from jobs import dispatch
from sites.models import Event

from .audience import hears
from .reader import Reader
from .streams import BYE, COMMENT, RESYNC, AgentStream, PageStream, Stream, message
from .timing import Timing

log = logging.getLogger(__name__)

# Streams that one agent, or one person, may have open; one more ends the oldest.
STREAMS_OF_AGENT = 4
STREAMS_OF_PERSON = 60
# Waiters woken for a run: one at once, two more after a while, then four; then they poll anyway.
MOST_WOKEN = 4
# Events handled between two turns of the loop.
AT_A_STRETCH = 20


class Hub:
    """All waiting agents and pages; everything but the reading happens in the event loop."""

    def __init__(self, timing: Timing, *, ask: Callable[..., Awaitable[Any]]) -> None:
        """Begin to read and to look at the clock. `ask` runs a function in the thread pool."""
        self.timing = timing
        self.closing = False
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._agents: dict[int, list[AgentStream]] = {}
        self._pages: dict[UUID, list[PageStream]] = {}
        self._pages_about: dict[int | None, set[PageStream]] = {}  # organization; None: all
        self._watched: frozenset[int] | None = frozenset()
        # Who waits for the runs of a queue, the next one to be woken first.
        self._waiting: dict[int, OrderedDict[AgentStream, None]] = {}
        self._known: set[int] = set()  # queues whose takers are in `_waiting`
        self._unknown: Counter[int] = Counter()  # runs for the queues that are not
        self._learning: asyncio.Task[None] | None = None
        self._reading: set[asyncio.Task[None]] = set()
        # Runs that nobody took yet: the Event that made them pending, and when more are woken.
        self._untaken: dict[UUID, int] = {}
        self._again: deque[tuple[float, int, UUID, int, int]] = deque()
        # Each stream is looked at once a round: for a comment line, and for its end.
        self._wheel: list[set[Stream]] = [
            set() for _ in range(max(1, round(timing.comment_s / timing.tick_s)))
        ]
        self._slot = 0
        self._reader = Reader(
            timing, deliver=self.deliver, resync=self.resync, watched=lambda: self._watched
        )
        self._clock = self._loop.create_task(self._tick_for_ever())

    # --- streams come and go ---------------------------------------------------------------------

    def end_of_stream(self) -> float:
        """Give the time at which a stream that begins now ends: not all of them at once."""
        return self._loop.time() + self.timing.end_s * random.uniform(0.9, 1.0)

    async def add(self, stream: AgentStream | PageStream) -> None:
        """Take a stream in; returns when it can miss nothing that is committed from here on."""
        stream.slot = self._slot
        self._wheel[stream.slot].add(stream)
        if isinstance(stream, AgentStream):
            self._only(self._agents.setdefault(stream.agent_id, []), stream, STREAMS_OF_AGENT)
        else:
            self._only(self._pages.setdefault(stream.who.public_id, []), stream, STREAMS_OF_PERSON)
            for about in self._about(stream):
                self._pages_about.setdefault(about, set()).add(stream)
            self._watch()
        if self.closing:
            stream.end(b"", why="stopping", now=self._loop.time())
            return
        await self._reader.listen()

    def remove(self, stream: AgentStream | PageStream) -> None:
        """Forget a stream. Safe for one that was never taken in."""
        stream.gone = True
        self._wheel[stream.slot].discard(stream)
        if isinstance(stream, AgentStream):
            _drop(self._agents, stream.agent_id, stream)
            self._take_queues(stream, ())
        else:
            _drop(self._pages, stream.who.public_id, stream)
            for about in self._about(stream):
                _drop(self._pages_about, about, stream)
            self._watch()
        if not self._agents and not self._pages:
            self._known.clear()
            self._untaken.clear()
            self._again.clear()
            self._reader.rest()

    async def wait_for_work(self, stream: AgentStream, agent: Agent | None = None) -> bool:
        """Let an agent's stream, which was taken in, hear of the runs in its queues.

        Read after it was taken in, so that a queue that is made meanwhile is heard of. Says
        whether there is work already.
        """
        queues, pending = await self._ask(work_of, agent or stream.agent_id)
        if not stream.gone:
            self._take_queues(stream, tuple(queues))
            self._known.update(queues)
        return bool(pending)

    def close(self) -> None:
        """End every stream: the process is about to stop."""
        self.closing = True
        for stream in list(chain.from_iterable(self._wheel)):
            stream.end(b"", why="stopping", now=self._loop.time())

    async def stop(self) -> None:
        """End what `__init__` began."""
        self.close()
        self._clock.cancel()
        if self._learning:
            self._learning.cancel()
        await self._reader.stop()

    def _only(self, streams: list[Any], stream: Stream, most: int) -> None:
        streams.append(stream)
        if len(streams) > most:
            oldest = next((known for known in streams if not known.ended), stream)
            oldest.end(b"", why="replaced", now=self._loop.time())

    def _about(self, stream: PageStream) -> Iterable[int | None]:
        organizations = stream.who.organizations
        return [None] if organizations is None else organizations

    def _watch(self) -> None:
        self._watched = (
            None if None in self._pages_about else frozenset(pk for pk in self._pages_about if pk)
        )

    def _take_queues(self, stream: AgentStream, queues: tuple[int, ...]) -> None:
        for queue in stream.queues:
            waiting = self._waiting.get(queue)
            if waiting is not None:
                waiting.pop(stream, None)
                if not waiting:
                    del self._waiting[queue]
        stream.queues = queues
        for queue in queues:
            self._waiting.setdefault(queue, OrderedDict())[stream] = None

    # --- news ------------------------------------------------------------------------------------

    async def deliver(self, events: list[Event]) -> None:
        """Tell everyone concerned of these Events and hints."""
        fresh: Counter[int] = Counter()
        for number, event in enumerate(events, 1):
            if event.kind.startswith("run."):
                self._note_run(event, fresh)
            elif event.kind in ("agent.changed", "agent.retired"):
                self._note_agent(event)
            elif event.kind in ("job.changed", "site.changed"):
                # A pause was ended: so many runs wait in these queues.
                if self._agents:
                    queues = event.data.get("queues", {})
                    fresh.update({int(queue): number for queue, number in queues.items()})
            elif event.kind == "access.changed":
                for page in self._pages.get(event.subject_id, ()):
                    page.end(BYE, why="access_changed", now=self._loop.time())
                continue
            self._tell_pages(event)
            if number % AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        self._wake(fresh)

    def resync(self) -> None:
        """Have every page fetch its state: the database was away, or news was lost."""
        for pages in self._pages.values():
            for page in pages:
                page.write(RESYNC)

    def _tell_pages(self, event: Event) -> None:
        texts: dict[bool, bytes] = {}
        for about in (event.organization_id, None):
            for page in self._pages_about.get(about, ()):
                if hears(page.who, event):
                    mine = event.starter_id == page.who.user_id
                    if mine not in texts:
                        texts[mine] = message(event, mine=mine)
                    page.write(texts[mine])

    def _note_agent(self, event: Event) -> None:
        for streams in list(self._agents.values()):
            for stream in streams:
                if stream.public_id != event.subject_id:
                    continue
                if event.kind == "agent.retired":
                    stream.end(b"", why="retired", now=self._loop.time())
                else:
                    task = self._loop.create_task(self._read_queues(stream))
                    self._reading.add(task)
                    task.add_done_callback(self._reading.discard)

    # --- work ------------------------------------------------------------------------------------

    async def _read_queues(self, stream: AgentStream) -> None:
        """What the agent can do has changed, or where it stands."""
        try:
            if await self.wait_for_work(stream):
                stream.hint()
        except OperationalError as error:
            log.warning("The queues of an agent cannot be read: %s", error)

    def _note_run(self, event: Event, fresh: Counter[int]) -> None:
        if not self._agents or event.pk is None:
            return
        queue = event.data.get("queue")
        if event.kind != "run.pending" or queue is None:
            self._untaken.pop(event.subject_id, None)
            return
        fresh[queue] += 1
        self._untaken[event.subject_id] = event.pk
        due = self._loop.time() + self.timing.again_s
        self._again.append((due, event.pk, event.subject_id, queue, 2))

    def _wake(self, runs: Counter[int]) -> None:
        """Wake so many waiters of each queue, round robin; ask who takes from an unknown queue."""
        for queue, number in runs.items():
            if queue not in self._known:
                self._unknown[queue] += number
            waiting = self._waiting.get(queue)
            if waiting:
                for _ in range(min(number, len(waiting))):
                    stream = next(iter(waiting))
                    waiting.move_to_end(stream)
                    stream.hint()
        if self._unknown and self._learning is None:
            self._learning = self._loop.create_task(self._learn())

    def _wake_more(self, now: float) -> None:
        """Wake more waiters for the runs that nobody took since the last time."""
        due: Counter[int] = Counter()
        while self._again and self._again[0][0] <= now:
            _, event, run, queue, number = self._again.popleft()
            if self._untaken.get(run) != event:
                continue
            due[queue] += number
            if number < MOST_WOKEN:
                again = now + self.timing.again_s
                self._again.append((again, event, run, queue, number * 2))
            else:
                del self._untaken[run]
        self._wake(due)

    async def _learn(self) -> None:
        """Read which agents take from queues that were made after they connected."""
        try:
            while self._unknown:
                runs, self._unknown = self._unknown, Counter()
                takers = await self._ask(takers_of, list(runs))
                for queue, agents in takers.items():
                    for agent in agents:
                        for stream in self._agents.get(agent, ()):
                            if queue not in stream.queues:
                                stream.queues = (*stream.queues, queue)
                                self._waiting.setdefault(queue, OrderedDict())[stream] = None
                    self._known.add(queue)
                self._wake(Counter({queue: runs[queue] for queue in takers}))
        except OperationalError as error:
            # The queues stay unknown, and the next look at their runs asks again.
            log.warning("Who takes from new queues cannot be read: %s", error)
        finally:
            self._learning = None

    # --- time ------------------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.timing.tick_s)
            self._tick(self._loop.time())

    def _tick(self, now: float) -> None:
        self._slot = (self._slot + 1) % len(self._wheel)
        for stream in list(self._wheel[self._slot]):
            if stream.ended:
                if stream.ends_at <= now:
                    stream.cut_off()
            elif stream.ends_at <= now + self.timing.comment_s:
                stream.end(b"", why="time_over", now=now)
            else:
                stream.write(COMMENT)
        self._wake_more(now)


def work_of(agent: Agent | int) -> tuple[list[int], bool]:
    """Read an agent's queues, and whether a run is pending in one of them."""
    queues = queues_of(agent if isinstance(agent, Agent) else Agent.objects.get(pk=agent))
    return queues, dispatch.waiting(queues)


def _drop(table: dict[Any, Any], key: object, stream: Stream) -> None:
    """Take a stream out of a table of collections, and an empty collection with it."""
    if streams := table.get(key):
        if stream in streams:
            streams.remove(stream)
        if not streams:
            del table[key]
