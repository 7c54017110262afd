"""The portal's own script listens to what is told of runs, by its name."""

from __future__ import annotations

import ast
import re

from django.conf import settings

from jobs.models import Proposal
from jobs.states import Status
from notifications import decisions
from notifications.news import PROBLEMS

# Never stored, only hinted at by agents' requests.
HINTS = {"log", "progress"}


def listened() -> set[str]:
    """The kinds of Events of a run in portal.js."""
    script = (settings.BASE_DIR / "static" / "portal.js").read_text()
    [kinds] = re.findall(r"const KINDS = \[(.*?)\];", script, re.DOTALL)
    return set(re.findall(r'"run\.(\w+)"', kinds))


def test_the_bell_hears_of_what_is_always_a_problem() -> None:
    """Beside those that `run.completed` may tell of, too: it comes too often to ask each time."""
    script = (settings.BASE_DIR / "static" / "portal.js").read_text()
    [bad] = re.findall(r"const BAD = new Set\(\[(.*?)\]\);", script)
    ends = {kind for kind in decisions.ENDS if kind.removeprefix("run.") in PROBLEMS}
    assert set(re.findall(r'"([\w.]+)"', bad)) == {*ends, "run.given_up", decisions.MISSED}


def told() -> set[str]:
    """What is given to `moves.tell` anywhere in the product: words, or else the expression."""
    found = set()
    for folder in ("jobs", "sites", "agents", "notifications", "config"):
        for module in (settings.BASE_DIR / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(module.read_text())):
                if not isinstance(call, ast.Call) or ast.unparse(call.func) != "moves.tell":
                    continue
                parts = [part for part in ast.walk(call.args[1]) if isinstance(part, ast.Constant)]
                words = {part.value for part in parts if isinstance(part.value, str)}
                found |= words or {ast.unparse(call.args[1])}
    return found


def test_open_pages_hear_of_all_that_is_told_of_runs() -> None:
    statuses = {str(status) for status in Status}
    decided = {str(state) for state in Proposal.State if state != Proposal.State.OPEN}
    # What is no word where it is told.
    meant = {"Status.PENDING": set(), "str(state)": decided}
    words = told()
    assert meant.keys() <= words
    assert listened() == statuses.union(words - meant.keys(), *meant.values(), HINTS)
