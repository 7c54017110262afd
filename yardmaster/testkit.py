"""How a tool is tried without a portal: its real body, on this machine, and all that it said.

    report = run(Press, "read", {"line": 3}, address="192.0.2.7")
    assert report.status == "completed"

Nothing is imitated but the portal's side: parameters are converted, secrets masked, texts cut and
a snapshot's files read and checked as they are in a real run.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yardmaster.agent.config import ConfigError
from yardmaster.agent.evidence import STATUSES, file_facts, record_line
from yardmaster.agent.masking import Masker, secrets_of
from yardmaster.agent.watching import watched
from yardmaster.agent.work import completed, failed, fit_to_send
from yardmaster.objects import LINK, blob_id, hash_stream, tree_id
from yardmaster.owner import own_credentials
from yardmaster.sdk import (
    CREDENTIALS,
    Failed,
    RecordStatus,
    SnapshotAnswer,
    Source,
    SourceChanged,
    Stopped,
    Target,
    Tool,
    tool_of,
)


@dataclass
class Report:
    """What a run left behind; `status` is `completed`, `failed`, or `stopped` at its limit."""

    status: str = ""
    message: str = ""
    error: str = ""
    summary: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    progress: int = 0
    log: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    # Path → bytes; None where nothing was sealed. Links are in `links`, path → where to.
    snapshot: dict[str, bytes] | None = None
    links: dict[str, str] = field(default_factory=dict)
    tree: str = ""


def run(
    tool: type | Tool,
    function: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    address: str = "",
    settings: Mapping[str, Any] | None = None,
    credentials: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    base_tree: str = "",
    time_limit_s: float | None = None,
) -> Report:
    """Carry out one function of a tool and return what it did.

    `folder` is the agent's own, with its `agent.toml` and `credentials.toml`, and keeps the tool's
    cache between calls; without it an empty one is used. A snapshot whose tree is `base_tree` is
    up to date. An error that the tool does not know is raised as it is.
    """
    made = tool if isinstance(tool, Tool) else tool_of(tool)
    if folder is not None:
        return _run(
            made,
            function,
            parameters or {},
            address,
            settings,
            credentials,
            folder,
            base_tree,
            time_limit_s,
        )
    with tempfile.TemporaryDirectory() as own:
        return _run(
            made,
            function,
            parameters or {},
            address,
            settings,
            credentials,
            Path(own),
            base_tree,
            time_limit_s,
        )


def _run(
    tool: Tool,
    function: str,
    parameters: Mapping[str, Any],
    address: str,
    settings: Mapping[str, Any] | None,
    credentials: Mapping[str, Any] | None,
    folder: Path,
    base_tree: str,
    time_limit_s: float | None,
) -> Report:
    report = Report()
    try:
        if name := parameters.get(CREDENTIALS):
            credentials = own_credentials(folder, name)
    except ConfigError as error:
        report.status, report.message = "failed", str(error)
        return report
    schema = tool.functions[function].parameters
    masker = Masker(secrets_of(credentials or {}, parameters, schema, settings or {}))
    context = LocalContext(
        report,
        masker,
        folder,
        tool.name,
        parameters,
        credentials or {},
        Target("t", "target", "device", address, settings or {}),
        base_tree,
        time_limit_s,
    )
    try:
        try:
            outcome = tool.run(function, context)
        except Exception:
            context.check()
            raise
        produces = tool.functions[function].produces
        if produces == "snapshot" and report.snapshot is None:
            raise Failed("The function ended without a snapshot, which the portal refuses.")
        counts = outcome.counts or _counts(report.records)
        body = completed(replace(outcome, counts=counts))
    except Failed as failure:
        body = failed(failure.message, failure.error)
    except Stopped:
        body = {"status": "stopped", "message": ""}
    for name, value in fit_to_send(body, masker).items():
        setattr(report, name, value)
    report.log += masker.finish()
    return report


def _counts(records: list[dict[str, Any]]) -> dict[str, int]:
    said = [STATUSES[record["status"]] for record in records]
    counts = {name: said.count(name) for name in STATUSES.values()}
    return {"total": len(said), **counts} if said else {}


class LocalContext:
    """The `Context` of a run that nobody but the test hears of."""

    def __init__(
        self,
        report: Report,
        masker: Masker,
        folder: Path,
        tool: str,
        parameters: Mapping[str, Any],
        credentials: Mapping[str, Any],
        target: Target,
        base_tree: str,
        time_limit_s: float | None,
    ) -> None:
        self.target = target
        self.parameters = parameters
        self.credentials = credentials
        self.private_folder = folder
        self.cache_folder = folder / "cache" / tool
        self.cache_folder.mkdir(parents=True, exist_ok=True)
        self.object_bytes = 8 * 1024 * 1024
        self._report = report
        self._masker = masker
        self._base_tree = base_tree
        self._deadline = None if time_limit_s is None else time.monotonic() + time_limit_s

    def log(self, text: str, end: str = "\n") -> None:
        """Add a line to the report's log."""
        self.check()
        self._report.log += self._masker.feed(f"{text}{end}")

    def warn(self, text: str) -> None:
        """Add a line that somebody should read."""
        self.log(f"Warning: {text}")

    def progress(self, percent: int) -> None:
        """Note how far the work is."""
        self.check()
        self._report.progress = max(self._report.progress, min(100, max(0, percent)))

    def check(self) -> None:
        """Raise Stopped when the time limit is over."""
        if self.remaining() == 0:
            raise Stopped

    def remaining(self) -> float | None:
        """Return the seconds left."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    @contextmanager
    def on_stop(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Call `cancel` if the time limit comes while the block goes on."""
        with watched(lambda: self.remaining() == 0, cancel):
            yield

    def record(
        self,
        status: RecordStatus,
        *,
        record_id: str = "",
        name: str = "",
        result: str = "",
        error: str = "",
    ) -> None:
        """Keep a record as the portal would get it."""
        self.check()
        if status not in STATUSES:
            raise ValueError(f"A record is one of {', '.join(STATUSES)}, not {status!r}.")
        texts = {"record_id": record_id, "name": name, "result": result, "error": error}
        records = self._report.records
        records.append(record_line(len(records) + 1, status, texts, self._masker))

    def artifact(
        self, source: Path | bytes, *, name: str = "", media_type: str = "application/octet-stream"
    ) -> None:
        """Keep a file's bytes under its name."""
        self.check()
        kept = file_facts(source, name, media_type)
        self._report.files[kept] = source if isinstance(source, bytes) else source.read_bytes()

    @contextmanager
    def temporary_folder(self) -> Iterator[Path]:
        """Give an empty folder that is gone after the block."""
        made = tempfile.mkdtemp(dir=self.private_folder)
        try:
            yield Path(made)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def snapshot(self, source: Source) -> SnapshotAnswer:
        """Read the source's files as sending them would, and see that each is what was listed."""
        self.check()
        files: dict[str, bytes] = {}
        links: dict[str, str] = {}
        for entry in source.entries:
            try:
                with source.open(entry) as stream:
                    data = stream.read()
            except OSError:
                raise SourceChanged(entry.path) from None
            if entry.sha256:
                blocks = iter([data, b""])
                same = hash_stream(lambda length: next(blocks))[0] == entry.sha256  # noqa: B023
            else:
                same = blob_id(data) == entry.id
            if not same:
                raise SourceChanged(entry.path)
            if entry.mode == LINK:
                links[entry.path] = data.decode()
            else:
                files[entry.path] = data
        if source.tree != tree_id(source.entries):
            raise AssertionError("The source's tree is not that of its entries.")
        self._report.snapshot, self._report.links = files, links
        self._report.tree = source.tree
        if source.tree == self._base_tree:
            return SnapshotAnswer("up_to_date", {})
        return SnapshotAnswer(
            "modified",
            {"added": len(files) + len(links), "modified": 0, "removed": 0, "renamed": 0},
        )
