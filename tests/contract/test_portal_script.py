"""The portal's own script listens to what is told of runs, by its name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from django.conf import settings

from jobs.models import Proposal
from jobs.states import Status

# Never stored, only hinted at by agents' requests.
HINTS = {"log", "progress"}


def listened() -> set[str]:
    """The kinds of Events of a run in portal.js."""
    script = (settings.BASE_DIR / "static" / "portal.js").read_text()
    [kinds] = re.findall(r"const KINDS = \[(.*?)\];", script, re.DOTALL)
    return set(re.findall(r'"run\.(\w+)"', kinds))


def told(module: Path) -> set[str]:
    """The words that a module gives to `moves.tell`."""
    calls = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    return {
        part.value
        for call in calls
        if ast.unparse(call.func) == "moves.tell"
        for part in ast.walk(call.args[1])
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_open_pages_hear_of_all_that_is_told_of_runs() -> None:
    words = set().union(*map(told, (settings.BASE_DIR / "jobs").glob("*.py")))
    assert {"pinned", "unpinned", "retried", "late_report"} <= words
    decided = {str(state) for state in Proposal.State if state != Proposal.State.OPEN}
    assert listened() == {str(status) for status in Status} | decided | words | HINTS
