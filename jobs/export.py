"""How Job History leaves as a spreadsheet: which runs, in which columns."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

from sites.export import AT_ONCE, MOST, Export, Turn, csv_line
from sites.models import User

from .models import JobRun
from .pages import NEWEST, newest_runs, sorted_runs
from .querysets import RunQuerySet
from .states import Origin


def _time(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


# Head → cell. Inputs and parameters are not among them: those are the starter's alone.
COLUMNS: dict[str, Callable[[JobRun], Any]] = {
    "Job ID": lambda run: run.public_id,
    "Status": lambda run: run.get_status_display(),
    "Result": lambda run: run.get_result_display() if run.result else "",
    "Type": lambda run: run.type,
    "Process": lambda run: run.name,
    "Site": lambda run: run.site,
    "Target": lambda run: run.target,
    "Function": lambda run: run.function,
    "Source": lambda run: source_of(run),
    "Robot": lambda run: run.robot,
    "Agent": lambda run: run.agent,
    "Started By": lambda run: run.started_by,
    "Started": lambda run: _time(run.created_at),
    "Began": lambda run: _time(run.started_at),
    "Finished": lambda run: _time(run.finished_at),
    "Updated": lambda run: _time(run.updated_at),
    "Duration (s)": lambda run: run.duration_s,
    "Progress (%)": lambda run: run.progress,
    "Message": lambda run: run.message,
    "Summary": lambda run: run.summary,
    "Reason": lambda run: run.get_reason_display() if run.reason else "",
    "Error": lambda run: run.error,
    "External ID": lambda run: run.external_id,
    "Tags": lambda run: ", ".join(map(str, run.tags)),
}


def source_of(run: JobRun) -> str:
    """Name where a run comes from: the portal, or the tool that reported it."""
    return "Portal" if run.origin == Origin.LOCAL else run.tool or run.get_origin_display()


def export_of(turn: Turn, user: User, runs: RunQuerySet, *, order: str = NEWEST) -> Export:
    """Give the lines of a CSV file with the newest runs of a list."""
    return Export(turn, _lines(turn, user, runs, order))


def _lines(turn: Turn, user: User, runs: RunQuerySet, order: str) -> Generator[str, None, None]:
    """Write runs as CSV, line by line; the first line begins with the mark by which Excel sees
    that the text is UTF-8. Nothing is kept of a line that was sent.

    Which runs, and in which order, is settled before the second line: what happens while the file
    is being sent doubles none and leaves none out.
    """
    yield f"\ufeff{csv_line(COLUMNS)}"
    newest, more = newest_runs(user, runs, most=MOST)
    ids = sorted_runs(newest, order)
    for at in range(0, len(ids), AT_ONCE):
        turn.renew()
        some = ids[at : at + AT_ONCE]
        rows = JobRun.objects.for_rows().in_bulk(some)
        for pk in some:
            yield csv_line(value(rows[pk]) for value in COLUMNS.values())
    if more:
        yield csv_line(
            [f"Only the newest {MOST:,} runs are in this file: narrow the list for older ones."]
        )
