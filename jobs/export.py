"""How a list of runs leaves as a spreadsheet: which columns, and what is done to their cells."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from .models import JobRun
from .states import Origin

# What a spreadsheet would take for a formula, in either width; and what it skips before one.
_FORMULA = tuple("=+-@＝＋－＠\t\r\n")


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


def csv_of(runs: Iterable[JobRun]) -> Iterator[str]:
    """Write runs as CSV, line by line; the first line begins with the mark by which Excel sees
    that the text is UTF-8. Nothing is kept of a line that was sent.
    """
    writer = csv.writer(_Line())
    yield f"\ufeff{writer.writerow(COLUMNS)}"
    for run in runs:
        yield str(writer.writerow([_cell(value(run)) for value in COLUMNS.values()]))


class _Line:
    """A file of which the writer gets back what it wrote."""

    def write(self, text: str) -> str:
        return text


def _cell(value: Any) -> Any:
    """Make sure that no text is read as a formula; numbers stay numbers."""
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
