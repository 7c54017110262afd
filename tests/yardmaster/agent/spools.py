"""What shows that an agent is at work: what lies in its spool, and how it says that it lives."""

from contextlib import suppress
from pathlib import Path

from tests.yardmaster.answers import Run

BEAT = "POST /api/v1/agent/heartbeat"


def files_in(home: Path, kind: str) -> list[Path]:
    return sorted((home / "spool" / kind).glob("*.json"))


def is_claimed(home: Path, run: Run) -> bool:
    """Say whether the agent's spool has a claim of the run; it may lose one meanwhile."""
    for path in files_in(home, "claims"):
        with suppress(FileNotFoundError):
            if run.id in path.read_text():
                return True
    return False
