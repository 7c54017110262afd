"""Idle waiting connections of agents: how many, what each costs, and how soon one is woken.

Real uvicorn, real tokens, loopback. The clients are bare sockets in this process. Each agent has
two queues, its own and one that it shares with all others; runs are announced by Events that
another connection commits. `python -m bench.live [connections]` brings its own PostgreSQL.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any
from uuid import uuid4

IDLE = 15_000
WAITERS = 5_000
WARM = 300  # connections before the first look at memory: threads, connections, caches are there
AT_ONCE = 100
WAKE_UPS = 1_000
WAKE_UPS_PER_S = 100
GOAL_KIB = 16.0
GOAL_MS = 100.0

Row = dict[str, Any]


class Waiter(asyncio.Protocol):
    """One agent that waits; notes when it was last woken."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.begun = asyncio.get_running_loop().create_future()
        self.woken: asyncio.Future[float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET /live/agent HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if b": ok" in data and not self.begun.done():
            self.begun.set_result(True)
        if b"event: work" in data and self.woken and not self.woken.done():
            self.woken.set_result(time.monotonic())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_result(False)


def make_agents(count: int) -> tuple[list[str], list[int], int]:
    """Make agents of one site that can do one function; tokens, own queues, organization."""
    from agents.catalogue import queue_for
    from agents.models import Agent, Function, FunctionVersion, Queue, Tool
    from sites import tokens
    from sites.models import Organization, Site

    organization = Organization.objects.create(name=f"Waiting {uuid4()}")
    site = Site.objects.create(organization=organization, name="Hall", time_zone="UTC")
    tool = Tool.objects.create(organization=organization, name="folder")
    function = Function.objects.create(organization=organization, tool=tool, name="backup")
    version = FunctionVersion.objects.create(function=function, version="1.0")
    agents, shown = [], []
    for number in range(count):
        agent = Agent(organization=organization, site=site, name=f"agent {number}")
        token, agent.token_hash = tokens.make("agent", agent.public_id)
        agents.append(agent)
        shown.append(token)
    Agent.objects.bulk_create(agents, batch_size=1000)
    through = FunctionVersion.agents.through
    through._default_manager.bulk_create(
        [through(functionversion_id=version.pk, agent_id=agent.pk) for agent in agents],
        batch_size=1000,
    )
    queue_for(site, function)
    queues = Queue.objects.bulk_create(
        [
            Queue(
                key=f"{site.pk}:{function.pk}::agent:{agent.pk}",
                organization=organization,
                site=site,
                function=function,
                assignment="agent",
                agent=agent,
            )
            for agent in agents
        ],
        batch_size=1000,
    )
    return shown, [queue.pk for queue in queues], organization.pk


def announce(organization: int, queues: list[int]) -> float:
    """Commit one new run for each queue, in one transaction; when it was committed."""
    from sites.models import Event

    Event.objects.bulk_create(
        Event(
            kind="run.pending",
            organization_id=organization,
            subject_id=uuid4(),
            data={"queue": queue, "job": None, "name": "bench"},
        )
        for queue in queues
    )
    return time.monotonic()


def memory_kib(pid: int) -> float:
    """Give the resident memory of a process."""
    import psutil

    return float(psutil.Process(pid).memory_info().rss) / 1024


async def connect(port: int, tokens: list[str]) -> list[Waiter]:
    """Open one stream for each token; those that were let in."""
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, token: str) -> Waiter | None:
        async with gate:
            # More than one source address: one has no more than some 28,000 ports.
            source = (f"127.0.0.{2 + number // 10_000}", 0)
            _, waiter = await loop.create_connection(
                lambda: Waiter(token), "127.0.0.1", port, local_addr=source
            )
            return waiter if await waiter.begun else None

    found = await asyncio.gather(*(one(n, token) for n, token in enumerate(tokens)))
    return [waiter for waiter in found if waiter]


async def wake(waiters: list[Waiter], queues: list[int], organization: int) -> list[float]:
    """Announce runs one after the other, each to a waiter of its own; milliseconds from commit."""
    loop = asyncio.get_running_loop()
    step = len(waiters) / WAKE_UPS
    pending: list[tuple[float, asyncio.Future[float]]] = []
    begun = loop.time()
    for number in range(WAKE_UPS):
        chosen = int(number * step)
        woken = waiters[chosen].woken = loop.create_future()
        committed = await asyncio.to_thread(announce, organization, [queues[chosen]])
        pending.append((committed, woken))
        await asyncio.sleep(max(0.0, begun + number / WAKE_UPS_PER_S - loop.time()))
    return sorted([max(0.0, await woken - committed) * 1000 for committed, woken in pending])


async def wake_all(waiters: list[Waiter], queues: list[int], organization: int) -> list[float]:
    """Announce a run for every waiter in one transaction; milliseconds from its commit."""
    loop = asyncio.get_running_loop()
    for waiter in waiters:
        waiter.woken = loop.create_future()
    committed = await asyncio.to_thread(announce, organization, queues)
    return sorted([(await waiter.woken - committed) * 1000 for waiter in waiters if waiter.woken])


async def measure(port: int, pid: int, idle: int) -> list[Row]:
    """Connect, look at the memory, wake."""
    tokens, queues, organization = await asyncio.to_thread(make_agents, idle)
    waiters = await connect(port, tokens[:WARM])
    before = memory_kib(pid)
    first = min(idle, WAITERS)
    begun = time.monotonic()
    waiters += await connect(port, tokens[WARM:first])
    rate = (first - WARM) / (time.monotonic() - begun)
    single = await wake(waiters, queues[:first], organization)
    await asyncio.sleep(5)  # the hub reminds of runs that nobody takes, twice
    every = await wake_all(waiters, queues[:first], organization)
    waiters += await connect(port, tokens[first:])
    await asyncio.sleep(2)
    each = (memory_kib(pid) - before) / max(1, len(waiters) - WARM)
    for waiter in waiters:
        waiter.transport.abort()

    def row(path: str, ours: str, goal: str, met: bool | None) -> Row:
        return {"path": path, "ours": ours, "anchor": "", "ratio": "", "goal": goal, "met": met}

    p50, p99 = single[len(single) // 2], single[int(len(single) * 0.99)]
    return [
        row(
            "idle /live/agent connections", f"{len(waiters):,}", f"≥ {IDLE:,}", len(waiters) >= IDLE
        ),
        row("memory of each", f"{each:.1f} KiB", f"≤ {GOAL_KIB:.0f} KiB", each <= GOAL_KIB),
        row(
            f"wake-up at {first:,} waiters, {WAKE_UPS_PER_S} runs/s",
            f"p50 {p50:.0f} ms, p99 {p99:.0f} ms",
            f"p99 ≤ {GOAL_MS:.0f} ms",
            p99 <= GOAL_MS,
        ),
        row(
            f"all {first:,} waiters woken by one transaction",
            f"first {every[0]:.0f} ms, last {every[-1]:.0f} ms",
            "",
            None,
        ),
        row("agents let in", f"{rate:.0f}/s", "", None),
    ]


def run(idle: int = IDLE) -> list[Row]:
    """Measure on the configured database, with a live process of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["uvicorn", "config.asgi:live", "--port", str(port), "--no-access-log"]
    # It says a line for each of the thousands that go: shown only if it ends by itself.
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--log-level", "warning"], stdout=said, stderr=said
        )
        try:
            return asyncio.run(measure_when_up(port, process, idle))
        except Ended:
            said.seek(0)
            raise SystemExit(f"The live process ended: {said.read()[-3000:]}") from None
        finally:
            process.terminate()
            process.wait()


class Ended(Exception):
    """The live process ended before it was measured."""


async def measure_when_up(port: int, process: subprocess.Popen[bytes], idle: int) -> list[Row]:
    """Wait for the process to listen, then measure."""
    while process.poll() is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return await measure(port, process.pid, idle)
    raise Ended


def main() -> None:
    """Measure on a throw-away PostgreSQL that writes to its disk, and print the rows."""
    from tests import servers

    with servers.postgres(durable=True) as server:
        os.environ["DATABASE_URL"] = server.url
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", interactive=False, verbosity=0)
        for row in run(int(sys.argv[1]) if len(sys.argv) > 1 else IDLE):
            met = {True: "met", False: "NOT MET", None: ""}[row["met"]]
            print(f"{row['path']:<48} {row['ours']:<28} {row['goal']:<14} {met}")


if __name__ == "__main__":
    main()
