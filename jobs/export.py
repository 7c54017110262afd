"""How a list of runs leaves as a spreadsheet: how many, which columns, what their cells hold."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.cache import cache

from sites.models import User

from .models import JobRun
from .pages import NEWEST, newest_runs, sorted_runs
from .querysets import RunQuerySet
from .states import Origin

# A file holds no more runs than this, the newest of the list.
MOST = 100_000
# So many runs are in memory at once.
AT_ONCE = 500
# A turn that was not renewed for so many seconds was left by a process that ended.
LEASE_S = 120
# When to ask again while another export of the same person is being sent.
RETRY_AFTER_S = 30
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


class Turn:
    """A person's one export at a time, among all processes; it ends by itself when it is left."""

    def __init__(self, user: User) -> None:
        self.key, self.token = f"export:{user.pk}", uuid.uuid4().hex

    def take(self) -> bool:
        """Take the turn; False while another export of the person has it."""
        return cache.add(self.key, self.token, LEASE_S)

    def renew(self) -> None:
        cache.touch(self.key, LEASE_S)

    def end(self) -> None:
        """Give the turn back, unless it has run out and is another's."""
        if cache.get(self.key) == self.token:
            cache.delete(self.key)


class Export:
    """The lines of a CSV file; holds its turn until the last one, or until it is closed."""

    def __init__(self, turn: Turn, user: User, runs: RunQuerySet, *, order: str = NEWEST) -> None:
        self.turn = turn
        self.lines = _lines(turn, user, runs, order)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return next(self.lines)
        except BaseException:
            self.turn.end()
            raise

    def close(self) -> None:
        """End before the last line, such as when the browser is gone."""
        self.lines.close()
        self.turn.end()


def _lines(turn: Turn, user: User, runs: RunQuerySet, order: str) -> Generator[str, None, None]:
    """Write runs as CSV, line by line; the first line begins with the mark by which Excel sees
    that the text is UTF-8. Nothing is kept of a line that was sent.

    Which runs, and in which order, is settled before the second line: what happens while the file
    is being sent doubles none and leaves none out.
    """
    writer = csv.writer(_Line())
    yield f"\ufeff{writer.writerow(COLUMNS)}"
    newest, more = newest_runs(user, runs, most=MOST)
    ids = sorted_runs(newest, order)
    for at in range(0, len(ids), AT_ONCE):
        turn.renew()
        some = ids[at : at + AT_ONCE]
        rows = JobRun.objects.for_rows().in_bulk(some)
        for pk in some:
            yield str(writer.writerow([_cell(value(rows[pk])) for value in COLUMNS.values()]))
    if more:
        yield str(
            writer.writerow(
                [f"Only the newest {MOST:,} runs are in this file: narrow the list for older ones."]
            )
        )


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
