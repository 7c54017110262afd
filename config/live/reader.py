"""Decides how the live process hears of Events: one thread that polls while anyone waits.

There is no NOTIFY (it slowed every insert 3 to 8 times) and no cursor alone: sequences commit out
of order, so ids missing below the highest one seen are read again for as long as a transaction
may last. All of it is hints; what must not be lost is read elsewhere (`fanned_out_at`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from itertools import islice
from typing import Any

from django.db import connection, connections

from jobs.models import JobRun
from sites.models import Event

from .timing import Timing

log = logging.getLogger(__name__)

AT_ONCE = 1000  # Events taken by one read
AGAIN_AT_ONCE = 500  # missing ids asked for by one read; more take turns
LARGEST_GAP = 10_000  # of a larger one (an id sequence that was set) only the end is looked at
LONGEST_BACK_OFF_S = 5.0


class Position:
    """How far the Events were read, and which ids below may still appear."""

    def __init__(self, reread_s: float) -> None:
        """Start after the newest Event; what is being committed now below it is still awaited."""
        self._reread_s = reread_s
        self._missing: dict[int, float] = {}  # id → until when
        newest = sorted(Event.objects.order_by("-pk").values_list("pk", flat=True)[:AT_ONCE])
        self._highest = newest[0] - 1 if newest else 0
        self._note(newest)

    def is_ahead(self) -> bool:
        """Say whether the database ends before it: then it is another one, or an older copy."""
        newest = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        return newest < self._highest

    def news(self) -> list[Event]:
        """Read what was committed since the last read.

        When there is nothing, that is one statement over the primary key, and no ORM.
        """
        again = list(islice(self._missing, AGAIN_AT_ONCE))
        table = connection.ops.quote_name(Event._meta.db_table)
        sql = f"SELECT id FROM (SELECT id FROM {table} WHERE id > %s ORDER BY id LIMIT %s) AS fresh"
        if again:
            places = ", ".join(["%s"] * len(again))
            sql += f" UNION ALL SELECT id FROM {table} WHERE id IN ({places})"
        with connection.cursor() as cursor:
            cursor.execute(sql, [self._highest, AT_ONCE, *again])
            found = sorted(pk for (pk,) in cursor.fetchall())
        events = list(Event.objects.filter(pk__in=found).order_by("pk")) if found else []
        # Noted only now: if the second read fails, the next one finds them again.
        self._take_turns(again)
        self._note(found)
        return events

    def _note(self, found: Collection[int]) -> None:
        """Remember the gaps below what was found."""
        until = time.monotonic() + self._reread_s
        for pk in found:
            if pk > self._highest:
                for gap in range(max(self._highest + 1, pk - LARGEST_GAP), pk):
                    self._missing[gap] = until
                self._highest = pk
            else:
                self._missing.pop(pk, None)

    def _take_turns(self, asked: Collection[int]) -> None:
        """Put those asked for at the end of the line, without those whose time is over."""
        now = time.monotonic()
        for pk in asked:
            until = self._missing.pop(pk)
            if until > now:
                self._missing[pk] = until


class Progress:
    """Which executing runs went on, or wrote to their log: hints that no Event is saved for."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int | None, int]] = {}

    def changes(self, organizations: frozenset[int] | None) -> list[Event]:
        """Compare with the last look, in these organizations or (None) in all; unsaved Events."""
        runs = JobRun.objects.executing()
        if organizations is not None:
            runs = runs.filter(organization__in=organizations)
        now = {
            pk: (progress, length)
            for pk, progress, length in runs.values_list("pk", "progress", "log_length")
        }
        before, self._seen = self._seen, now
        changed = [pk for pk, state in now.items() if before.get(pk, state) != state]
        hints = []
        if changed:
            for pk, run, organization, site, target, starter, job in JobRun.objects.filter(
                pk__in=changed
            ).values_list(
                "pk",
                "public_id",
                "organization_id",
                "site_id",
                "target_id",
                "started_by_id",
                "job__public_id",
            ):
                for number, kind in enumerate(("run.progress", "run.log")):
                    if before[pk][number] != now[pk][number]:
                        hints.append(
                            Event(
                                kind=kind,
                                subject_id=run,
                                organization_id=organization,
                                site_id=site,
                                target_id=target,
                                starter_id=starter,
                                data={"job": str(job) if job else None},
                            )
                        )
        return hints


class Reader:
    """The thread that reads, with its own database connection; parked while nobody waits."""

    def __init__(
        self,
        timing: Timing,
        *,
        deliver: Callable[[list[Event]], Coroutine[Any, Any, None]],
        resync: Callable[[], None],
        watched: Callable[[], frozenset[int] | None],
    ) -> None:
        """Prepare to read.

        `deliver` is awaited in the event loop with what was read, so that the reader is never
        ahead of it; `resync` is called there after the database was away; `watched` tells the
        organizations for which a page is open, None for all.
        """
        self._timing = timing
        self._deliver = deliver
        self._resync = resync
        self._watched = watched
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._change = threading.Condition()
        self._wanted = False
        self._stopping = False
        self._position: Position | None = None
        self._thread = threading.Thread(target=self._run, name="live-reader", daemon=True)
        self._thread.start()

    async def listen(self) -> None:
        """Have Events read from here on; returns when none committed later can be missed."""
        with self._change:
            if self._position is not None:
                self._wanted = True
                return
            if not self._wanted:
                self._wanted = True
                self._ready.clear()
                self._change.notify()
        await self._ready.wait()

    def rest(self) -> None:
        """Stop reading: nobody waits."""
        with self._change:
            self._wanted = False
            self._change.notify()

    async def stop(self) -> None:
        """End the thread and its connection."""
        with self._change:
            self._stopping = True
            self._change.notify()
        await self._loop.run_in_executor(None, self._thread.join, 2.0)

    def _announce(self, position: Position) -> None:
        if self._position is position:  # it has not been parked again meanwhile
            self._ready.set()

    # --- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        progress, hints_at, failures = Progress(), 0.0, 0
        try:
            while self._may_read():
                pause = self._timing.poll_s
                try:
                    events = self._read(recovering=failures > 0)
                    news = events
                    watched = self._watched()
                    if (watched is None or watched) and time.monotonic() >= hints_at:
                        news = events + progress.changes(watched)
                        hints_at = time.monotonic() + self._timing.hints_s
                    if failures:
                        failures = 0
                        log.info("The database answers again.")
                        self._loop.call_soon_threadsafe(self._resync)
                    if news:
                        asyncio.run_coroutine_threadsafe(self._deliver(news), self._loop).result()
                    if len(events) >= AT_ONCE:
                        pause = 0.0
                except Exception as error:
                    # Whatever it was, thousands of streams wait for this thread to go on.
                    if self._stopping:
                        return
                    if not failures:
                        log.warning("Events cannot be read, trying again: %s", error)
                    failures += 1
                    connection.close()
                    pause = min(0.1 * 2**failures, LONGEST_BACK_OFF_S)
                with self._change:
                    if pause and self._wanted and not self._stopping:
                        self._change.wait(pause)
        finally:
            connections.close_all()

    def _may_read(self) -> bool:
        """Wait until someone listens; False when the process ends."""
        with self._change:
            while not self._wanted and not self._stopping:
                self._position = None
                self._change.wait()
            return not self._stopping

    def _read(self, *, recovering: bool) -> list[Event]:
        position = self._position
        if position is None or (recovering and position.is_ahead()):
            position = Position(self._timing.reread_s)
            with self._change:
                self._position = position
            self._loop.call_soon_threadsafe(self._announce, position)
        return position.news()
