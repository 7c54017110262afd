"""What all threads of one running agent share."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yardmaster.agent.config import Config, write_json
from yardmaster.agent.held import Held, Reason
from yardmaster.agent.spool import Spool
from yardmaster.client import Client
from yardmaster.sdk import Tool

log = logging.getLogger("yardmaster")


@dataclass
class Settings:
    """What hello and the heartbeats say; the values here hold until the portal has spoken."""

    heartbeat_s: float = 15.0
    poll_s: float = 60.0
    slots: int = 1
    drain: bool = False
    limits: dict[str, int] = field(
        default_factory=lambda: {
            "chunk_bytes": 8 * 1024 * 1024,
            "object_bytes": 8 * 1024 * 1024,
            "log_bytes": 256 * 1024,
        }
    )

    def take(self, body: Mapping[str, Any]) -> None:
        """Take over what an answer says."""
        self.heartbeat_s = max(0.05, float(body.get("heartbeat_s", self.heartbeat_s)))
        self.poll_s = max(0.05, float(body.get("poll_s", self.poll_s)))
        self.slots = int(body.get("slots", self.slots))
        self.drain = bool(body.get("drain", self.drain))
        self.limits.update({name: int(n) for name, n in (body.get("limits") or {}).items() if n})


class Agent:
    """One running agent: its enrolment, what it holds, and the signals between its threads."""

    def __init__(
        self, folder: Path, config: Config, client: Client, tools: Mapping[str, Tool]
    ) -> None:
        self.folder = folder
        self.config = config
        self.client = client
        self.tools = tools
        self.spool = Spool(folder)
        self.settings = Settings()
        self.started_at = time.time()
        # There may be work, or a slot: look now.
        self.wake = threading.Event()
        # Claim nothing more.
        self.stopping = threading.Event()
        # End every thread; nothing is sent any more.
        self.ending = threading.Event()
        self.live = False
        # Why the program has to end, and with which exit status.
        self.fatal: tuple[str, int] | None = None
        self._held: dict[tuple[str, int], Held] = {}
        self._changed = threading.Condition()
        self._status_lock = threading.Lock()

    def hold(self, held: Held) -> bool:
        """Add a run; return False when this attempt is held already."""
        with self._changed:
            if held.key in self._held:
                return False
            self._held[held.key] = held
            self._changed.notify_all()
        self.write_status()
        return True

    def release(self, held: Held) -> None:
        """Drop a run that needs nothing more from this process."""
        with self._changed:
            self._held.pop(held.key, None)
            self._changed.notify_all()
        self.wake.set()
        self.write_status()

    def free_slot(self, held: Held) -> None:
        """Note that a run's work has ended, while its result is still to be acknowledged."""
        with self._changed:
            held.working = False
            self._changed.notify_all()
        self.wake.set()

    def held(self) -> list[Held]:
        """Return all runs that are held now."""
        with self._changed:
            return list(self._held.values())

    def working(self) -> list[Held]:
        """Return the runs whose work has not ended."""
        return [held for held in self.held() if held.working]

    def slots(self) -> int:
        """Return how many runs may work at once: the portal's number, or less as configured."""
        own = self.config.slots
        return self.settings.slots if own is None else min(own, self.settings.slots)

    def wait_for_work(self, seconds: float, *, delivered: bool = False) -> bool:
        """Wait until no run works (or, `delivered`, none is held); return whether that is so."""

        def done() -> bool:
            return not (self._held if delivered else any(h.working for h in self._held.values()))

        with self._changed:
            return self._changed.wait_for(done, seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than this agent lives."""
        self.ending.wait(seconds)

    def sleep_until_stopping(self, seconds: float) -> None:
        """Wait, but not longer than this agent takes new work."""
        self.stopping.wait(seconds)

    def spawn(self, name: str, body: Callable[[], object]) -> None:
        """Run a body in a thread of its own; an error that it does not know ends the program."""

        def guarded() -> None:
            try:
                body()
            except Exception as error:
                log.exception("The agent's thread “%s” failed", name)
                self.fail(f"The agent failed: {type(error).__name__}: {error}", 70)

        # Daemons, so that work which does not listen cannot keep a stopped program alive.
        threading.Thread(target=guarded, name=name, daemon=True).start()

    def fail(self, message: str, status: int) -> None:
        """End the program for a reason that waiting does not mend."""
        if self.fatal is None:
            self.fatal = (message, status)
        self.stopping.set()
        self.wake.set()

    def refuse_token(self) -> None:
        """Stop all work, since the portal does not accept the token; the spool is kept."""
        for held in self.held():
            held.stop(Reason.UNAUTHORIZED)
        self.fail(
            f"The portal {self.config.portal} does not accept this agent's token any more."
            " All work was stopped and the spool is kept. If the agent was retired by mistake,"
            " enrol again with a new line from the portal and --replace.",
            # EX_NOPERM: a service manager can be told not to start again on it.
            77,
        )

    def write_status(self) -> None:
        """Write what `yardmaster agent status` shows."""
        contact = self.client.contact
        runs = [
            {
                "id": held.id,
                "attempt": held.attempt,
                "what": f"{held.run.get('tool')}.{held.run.get('function')}",
                "target": (held.run.get("target") or {}).get("name", ""),
                "stage": held.stage if held.working else "reporting",
                "progress": held.progress,
            }
            for held in self.held()
        ]
        status = {
            "pid": os.getpid(),
            "started_at": self.started_at,
            "written_at": time.time(),
            "last_answer_at": contact.last_answer_at,
            "last_error": contact.last_error,
            "slots": self.slots(),
            "drain": self.settings.drain,
            "live": self.live,
            "stopping": self.stopping.is_set(),
            "runs": runs,
        }
        try:
            with self._status_lock:
                write_json(self.folder / "status.json", status)
        except OSError as error:
            log.warning("The status file cannot be written: %s", error)
