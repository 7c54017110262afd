"""What is told about an agent to whoever asks at its machine."""

import json
from pathlib import Path
from typing import Any

from yardmaster.agent import config


def gather(folder: Path) -> dict[str, Any]:
    """Return how the folder's agent is, or raise ConfigError when none is enrolled.

    Nothing is taken or changed: a running agent is not disturbed.
    """
    enrolled = config.read(folder)
    try:
        written = json.loads((folder / "status.json").read_text("utf-8"))
    except (OSError, ValueError):
        written = {}
    running = config.is_locked(folder)
    return {
        "folder": str(folder),
        "portal": enrolled.portal,
        "agent": enrolled.agent,
        "name": enrolled.name,
        "organization": enrolled.organization,
        "site": enrolled.site,
        "running": running,
        "pid": written.get("pid") if running else None,
        "last_answer_at": written.get("last_answer_at"),
        "last_error": written.get("last_error", "") if running else "",
        "stopping": running and written.get("stopping", False),
        "runs": written.get("runs", []) if running else [],
        "spool": {
            "claims": len(list((folder / "spool" / "claims").glob("*.json"))),
            "results": len(list((folder / "spool" / "results").glob("*.json"))),
        },
    }
