"""Whether a run that this agent holds may still be worked on."""

import threading
from collections.abc import Mapping
from enum import Enum
from typing import Any

from yardmaster.agent import clock
from yardmaster.client import Answer, Client, RunGone, Unauthorized
from yardmaster.sdk import Stopped


class Reason(Enum):
    """Why work on a run stopped before its end."""

    # The portal did not hear of this agent for so long that it may have given the run up.
    LEASE_LOST = "lease_lost"
    # The run's own time limit is over; it is the portal that says so, in its sweep.
    DEADLINE = "deadline"
    # The portal says that the run is not this agent's (any more).
    GONE = "gone"
    # This program was told to end.
    SHUTDOWN = "shutdown"
    # The token is not accepted any more.
    UNAUTHORIZED = "unauthorized"


class WorkStopped(Stopped):
    """The run must not go on, with the reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Held:
    """One run that this agent holds, from the claim to the acknowledged result.

    The lease counts from when the last accepted request was sent, so that the agent always lets
    go before the portal does. While the portal itself is away it gives nobody up, and the lease
    goes on.
    """

    def __init__(self, run: Mapping[str, Any], sent_at: float) -> None:
        self.run = run
        self.id = str(run["id"])
        self.attempt = int(run["attempt"])
        self.claim_id = str(run["claim_id"])
        self.progress: int | None = None
        self.stage = str(run["status"])
        # False once its work has ended: the slot is free, though the result is still on its way.
        self.working = True
        self._lease_s = float(run["lease_s"])
        self._lease_until = sent_at + self._lease_s
        self._deadline: float | None = None
        self._stopped: Reason | None = None
        self._ending: object | None = None
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def key(self) -> tuple[str, int]:
        """Return the run and attempt."""
        return (self.id, self.attempt)

    @property
    def path(self) -> str:
        """Return the prefix of everything that belongs to this attempt."""
        return f"/agent/runs/{self.id}/attempts/{self.attempt}"

    def renew(self, sent_at: float, lease_s: float) -> None:
        """Count the lease from an accepted request; an older answer never shortens it."""
        with self._lock:
            self._lease_until = max(self._lease_until, sent_at + lease_s)

    def renew_while_away(self, sent_at: float) -> None:
        """Count the lease from a beat that found no portal: it counts none of its own then.

        What has ended stays so.
        """
        if self.stop_reason() is None:
            self.renew(sent_at, self._lease_s)

    def stop(self, reason: Reason) -> None:
        """Stop the work; the first reason stays, except that GONE tops all."""
        with self._changed:
            if self._stopped is None or reason is Reason.GONE:
                self._stopped = reason
            self._changed.notify_all()

    def stop_reason(self) -> Reason | None:
        """Return why the work must stop by now, or None."""
        with self._lock:
            if self._stopped is not None:
                return self._stopped
            now = clock.now()
            # Both hold at the deadline, since no lease reaches past it.
            if self._deadline is not None and now >= self._deadline:
                return Reason.DEADLINE
            return Reason.LEASE_LOST if now >= self._lease_until else None

    def check(self) -> None:
        """Raise WorkStopped when the work must stop."""
        reason = self.stop_reason()
        if reason is not None:
            raise WorkStopped(reason)

    def remaining(self) -> float | None:
        """Return the seconds left until the time limit, None without one."""
        with self._lock:
            return None if self._deadline is None else max(0.0, self._deadline - clock.now())

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than the work may go on."""
        with self._changed:
            if self._stopped is None:
                left = self._lease_until - clock.now()
                self._changed.wait(max(0.0, min(seconds, left)))

    def wait_until_gone(self) -> bool:
        """Wait until the portal says that the run is not held; False if the token is refused."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped in {Reason.GONE, Reason.UNAUTHORIZED})
            return self._stopped is Reason.GONE

    def end(self, ending: object) -> bool:
        """Return whether this is the run's first ending; all later ones must be dropped."""
        with self._lock:
            if self._ending is not None:
                return False
            self._ending = ending
            return True

    def send(self, client: Client, method: str, path: str, **request: Any) -> Answer:
        """Send one request of this run's work, as long as the work may go on.

        Raises WorkStopped instead of the portal's own word when the run is gone or the token
        is refused, and when the lease was lost before an answer came.
        """
        self.check()
        try:
            return client.send_until(self._is_over, self.sleep, method, path, **request)
        except RunGone:
            self.stop(Reason.GONE)
        except Unauthorized:
            self.stop(Reason.UNAUTHORIZED)
        except Exception:
            self.check()
            raise
        raise WorkStopped(self.stop_reason() or Reason.GONE)

    def start(self, client: Client) -> None:
        """Make the run `running`; work may begin when this returns."""
        answer = self.move(client, "running")
        limit = self.run.get("run_timeout_s")
        with self._lock:
            self._deadline = None if limit is None else answer.sent_at + float(limit)

    def move(self, client: Client, status: str) -> Answer:
        """Tell the portal the run's next status and take the lease from its answer."""
        body: dict[str, Any] = {
            "attempt": self.attempt,
            "claim_id": self.claim_id,
            "status": status,
        }
        if self.progress is not None:
            body["progress"] = self.progress
        answer = self.send(client, "PATCH", f"/agent/runs/{self.id}", json=body)
        self.stage = status
        self.renew(answer.sent_at, float(answer.body.get("lease_s", 0)))
        return answer

    def advance(self, percent: int) -> None:
        """Note the progress; it never falls and stays within 0 to 100."""
        self.progress = max(self.progress or 0, min(100, max(0, percent)))

    def beat(self) -> dict[str, Any]:
        """Return this run's line in a heartbeat."""
        line: dict[str, Any] = {
            "id": self.id,
            "attempt": self.attempt,
            "claim_id": self.claim_id,
        }
        if self.progress is not None:
            line["progress"] = self.progress
        return line

    def _is_over(self) -> bool:
        return self.stop_reason() is not None
