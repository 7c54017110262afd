"""Prints docs/statuses.md from jobs/states.py: `python -m tests.contract.statuses_page`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from jobs import states
from jobs.states import (
    ACTIVE,
    BEGUN,
    EXECUTING,
    FINAL,
    LEASE_LOSSES,
    MOVES,
    REASONS,
    Result,
    Status,
)

PATH = Path(__file__).parents[2] / "docs" / "statuses.md"


def page() -> str:
    """Give the whole page as the table of moves and the comments beside it have it."""
    return f"""\
# Statuses

What can become of a run. This page is printed from [jobs/states.py](../jobs/states.py); a test
fails when the two differ. To print it again: `python -m tests.contract.statuses_page`.

```mermaid
stateDiagram-v2
{diagram()}
```

## Moves

| status | what it means, who moves it on, what a crash leaves | moves to |
|---|---|---|
{moves()}

A claim whose lease ends before the work began goes back to pending, {LEASE_LOSSES} times at most.
Final statuses never change. [jobs/moves.py](../jobs/moves.py) holds the one statement that changes
a status.

## Groups

| group | statuses |
|---|---|
| active | {listed(ACTIVE)} |
| executing: an agent holds it | {listed(EXECUTING)} |
| begun: its work must not begin again | {listed(BEGUN)} |
| final | {listed(FINAL)} |

## What a final status says beside itself

| status | with | one of |
|---|---|---|
| `completed` | result | {", ".join(f"`{one}` ({one.label})" for one in Result)} |
{reasons()}

The result of a backup is the portal's own verdict over the snapshot, never the agent's word.
"""


def diagram() -> str:
    """Spell every move in Mermaid, which draws it."""
    lines = [f"    {status} : {status.label}" for status in Status]
    lines.append(f"    [*] --> {Status.PENDING}")
    lines += [f"    {old} --> {new}" for old in Status for new in Status if new in MOVES[old]]
    lines += [f"    {status} --> [*]" for status in Status if status in FINAL]
    return "\n".join(lines)


def moves() -> str:
    """Give a row for each status, with the words that stand above it in the code."""
    words = comments()
    return "\n".join(
        f"| `{status}` | {words[status.name]} | {listed(MOVES[status]) or 'nothing: final'} |"
        for status in Status
    )


def comments() -> dict[str, str]:
    """Read what is written above each status in the code."""
    found = re.findall(r"((?:    # .*\n)+)    ([A-Z_]+) = ", inspect.getsource(states.Status))
    return {name: re.sub(r"\s*\n?    # ", " ", text).strip() for text, name in found}


def reasons() -> str:
    """Give a row for each status that says why."""
    return "\n".join(
        f"| `{status}` | reason | "
        + ", ".join(f"`{one}` ({one.label})" for one in states.Reason if one in REASONS[status])
        + " |"
        for status in Status
        if status in REASONS
    )


def listed(statuses: Iterable[Status]) -> str:
    """Name statuses in the order of the lifecycle."""
    chosen = set(statuses)
    return ", ".join(f"`{status}`" for status in Status if status in chosen)


if __name__ == "__main__":
    PATH.write_text(page())
