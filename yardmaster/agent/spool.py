"""What the agent must still know after it was killed: its claims and its results."""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yardmaster.agent.config import make_folder, sync_folder, write_json

log = logging.getLogger("yardmaster")


@dataclass(frozen=True)
class KeptRun:
    """One run of a kept claim."""

    id: str
    attempt: int


@dataclass(frozen=True)
class KeptClaim:
    """A claim whose runs are not all final; `runs` is empty while the answer is not known."""

    claim_id: str
    runs: tuple[KeptRun, ...]


@dataclass(frozen=True)
class KeptResult:
    """A result that the portal has not acknowledged; `stored_at` is seconds since the epoch."""

    id: str
    attempt: int
    claim_id: str
    body: dict[str, Any]
    stored_at: float


class Spool:
    """The files under `spool/`; every change is on disk when its method returns.

    Credentials and parameters of runs are never written here: a claim that is asked for again
    brings them again.
    """

    def __init__(self, folder: Path) -> None:
        self._claims = folder / "spool" / "claims"
        self._results = folder / "spool" / "results"
        self._lock = threading.Lock()
        make_folder(self._claims)
        make_folder(self._results)

    def new_claim(self) -> str:
        """Make a claim id and keep it; to be called before the claim is sent."""
        claim_id = str(uuid.uuid4())
        with self._lock:
            self._write_claim(claim_id, ())
        return claim_id

    def note_runs(self, claim_id: str, runs: Sequence[KeptRun]) -> None:
        """Keep which runs and attempts a claim brought; to be called before one is begun."""
        with self._lock:
            self._write_claim(claim_id, runs)

    def claims(self) -> list[KeptClaim]:
        """Return all kept claims."""
        kept = []
        for path in sorted(self._claims.glob("*.json")):
            # The name alone is enough to ask for the claim again.
            stored = _read(path) or {}
            runs = (KeptRun(run["id"], run["attempt"]) for run in stored.get("runs", ()))
            kept.append(KeptClaim(path.stem, tuple(runs)))
        return kept

    def forget_claim(self, claim_id: str) -> None:
        """Drop a claim that holds nothing."""
        with self._lock:
            _remove(self._claims / f"{claim_id}.json")

    def keep_result(
        self, run_id: str, attempt: int, claim_id: str, body: Mapping[str, Any]
    ) -> KeptResult:
        """Keep the result of a run; to be called before it is sent."""
        kept = KeptResult(run_id, attempt, claim_id, dict(body), time.time())
        write_json(
            self._result_file(run_id, attempt),
            {
                "id": run_id,
                "attempt": attempt,
                "claim_id": claim_id,
                "body": kept.body,
                "stored_at": kept.stored_at,
            },
        )
        return kept

    def results(self) -> list[KeptResult]:
        """Return all results that were not acknowledged."""
        kept = []
        for path in sorted(self._results.glob("*.json")):
            stored = _read(path)
            if stored is not None:
                kept.append(KeptResult(**stored))
        return kept

    def settle(self, run_id: str, attempt: int, claim_id: str) -> None:
        """Forget a run that is final or somebody else's, and its claim when it was the last.

        A crash between the two steps leaves a claim whose run the portal calls final.
        """
        with self._lock:
            _remove(self._result_file(run_id, attempt))
            path = self._claims / f"{claim_id}.json"
            stored = _read(path) if path.exists() else None
            if stored is None:
                return
            left = [
                KeptRun(run["id"], run["attempt"])
                for run in stored.get("runs", ())
                if (run["id"], run["attempt"]) != (run_id, attempt)
            ]
            if left:
                self._write_claim(claim_id, left)
            else:
                _remove(path)

    def _result_file(self, run_id: str, attempt: int) -> Path:
        # An id is the portal's word: it must not choose where a file goes.
        return self._results / f"{uuid.UUID(run_id)}-{int(attempt)}.json"

    def _write_claim(self, claim_id: str, runs: Sequence[KeptRun]) -> None:
        listed = [{"id": run.id, "attempt": run.attempt} for run in runs]
        write_json(self._claims / f"{claim_id}.json", {"claim_id": claim_id, "runs": listed})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(path.read_text("utf-8"))
        if isinstance(stored, dict):
            return stored
    except FileNotFoundError:
        return None
    except ValueError:
        pass
    log.error("%s is damaged; it is put aside as %s.damaged.", path, path.name)
    os.replace(path, path.with_name(f"{path.name}.damaged"))
    return None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_folder(path.parent)
