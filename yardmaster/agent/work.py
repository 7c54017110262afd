"""What happens between the start of a run and its ending."""

import logging
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from yardmaster.agent.config import ConfigError, make_folder
from yardmaster.agent.evidence import Records, send_file
from yardmaster.agent.held import Held, Reason, WorkStopped
from yardmaster.agent.logs import LogStream
from yardmaster.agent.masking import Masker, secrets_of
from yardmaster.agent.snapshot import send_snapshot
from yardmaster.agent.watching import watched
from yardmaster.client import Client, PortalError
from yardmaster.owner import own_credentials
from yardmaster.sdk import (
    CREDENTIALS,
    Failed,
    Function,
    Outcome,
    RecordStatus,
    SnapshotAnswer,
    Source,
    Target,
    Tool,
)

log = logging.getLogger("yardmaster")

LONGEST_LINE = 200
LONGEST_TEXT = 20_000
STAGES = ("claimed", "running", "validating", "uploading")
ENDINGS = {
    Reason.LEASE_LOST: (
        "The agent lost contact with the portal and stopped the work.",
        "An agent that cannot reach the portal for so long stops: another may have its run by now.",
    ),
    Reason.SHUTDOWN: (
        "The agent was stopped before the run was done.",
        "The program was told to end, and the run did not finish in the time that was left.",
    ),
}


class RunContext:
    """The `Context` of one run."""

    def __init__(
        self,
        held: Held,
        client: Client,
        stream: LogStream,
        folder: Path,
        limits: Mapping[str, Any],
        masker: Masker,
    ) -> None:
        target = held.run["target"]
        self.target = Target(
            id=str(target["id"]),
            name=str(target.get("name", "")),
            kind=str(target.get("kind", "")),
            address=str(target.get("address") or ""),
            settings=target.get("settings") or {},
        )
        self.parameters: Mapping[str, Any] = held.run.get("parameters") or {}
        self.credentials: Mapping[str, Any] = held.run.get("credentials") or {}
        self.private_folder = folder
        # Both names are the portal's word: they must not choose a path.
        names = (str(held.run["tool"]), self.target.id)
        self.cache_folder = folder.joinpath(
            "cache", *(re.sub(r"[^A-Za-z0-9-]", "_", name) for name in names)
        )
        make_folder(self.cache_folder)
        self.object_bytes = int(limits["object_bytes"])
        self._chunk_bytes = int(limits["chunk_bytes"])
        self._held = held
        self._client = client
        self._stream = stream
        self.records = Records(held, client, masker)

    def log(self, text: str, end: str = "\n") -> None:
        """Add a line to the run's log."""
        self.check()
        self._stream.write(f"{text}{end}")

    def warn(self, text: str) -> None:
        """Add a line that somebody should read."""
        self.log(f"Warning: {text}")

    def progress(self, percent: int) -> None:
        """Say how far the work is."""
        self.check()
        self._held.advance(percent)

    def check(self) -> None:
        """Raise Stopped when the run must not go on."""
        self._held.check()

    def remaining(self) -> float | None:
        """Return the seconds left until the time limit."""
        return self._held.remaining()

    @contextmanager
    def on_stop(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Call `cancel` if the run has to stop while the block goes on."""

        def stop() -> None:
            log.info("Run %s: its tool is told to stop.", self._held.id)
            cancel()

        with watched(lambda: self._held.stop_reason() is not None, stop):
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
        """Report one of the things that the run dealt with."""
        self.check()
        texts = {"record_id": record_id, "name": name, "result": result, "error": error}
        self.records.add(status, texts)

    def artifact(
        self, source: Path | bytes, *, name: str = "", media_type: str = "application/octet-stream"
    ) -> None:
        """Keep a file with the run."""
        send_file(
            self._held,
            self._client,
            source,
            name=name,
            media_type=media_type,
            chunk_bytes=self._chunk_bytes,
        )

    @contextmanager
    def temporary_folder(self) -> Iterator[Path]:
        """Give an empty folder in the agent's own, which the next start empties of what is left."""
        make_folder(work_folder(self.private_folder))
        made = tempfile.mkdtemp(dir=work_folder(self.private_folder))
        try:
            yield Path(made)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def snapshot(self, source: Source) -> SnapshotAnswer:
        """Send the source's files and seal the snapshot."""
        return send_snapshot(
            self._held, self._client, source, chunk_bytes=self._chunk_bytes, enter=self._enter
        )

    def _enter(self, status: str) -> None:
        # A source that is read again goes through the same steps: statuses only go forward.
        if STAGES.index(status) > STAGES.index(self._held.stage):
            self._held.move(self._client, status)


def find_function(tools: Mapping[str, Tool], run: Mapping[str, Any]) -> Function:
    """Return the function that a run asks for, or raise Failed."""
    tool = tools.get(str(run["tool"]))
    # A run without a version takes the one that is here.
    if tool is None or run["version"] not in {"", tool.version}:
        raise Failed(f"This agent does not have the tool {run['tool']} {run['version']}.")
    found = tool.functions.get(str(run["function"]))
    if found is None:
        raise Failed(f"The tool {tool.name} has no function {run['function']}.")
    return found


def work_folder(folder: Path) -> Path:
    """Return where runs have their temporary folders."""
    return folder / "work"


def with_own_credentials(folder: Path, run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the run with the credentials that its job names in the agent's own file, if it does.

    They stay on this machine: only its own tools get them. Raises Failed when they cannot be had.
    """
    name = (run.get("parameters") or {}).get(CREDENTIALS)
    if not name or not isinstance(name, str):
        return run
    try:
        return {**run, "credentials": own_credentials(folder, name)}
    except ConfigError as error:
        raise Failed(str(error)) from None


def masker_for(tools: Mapping[str, Tool], run: Mapping[str, Any]) -> Masker:
    """Return what takes this run's secrets out of a text."""
    try:
        schema: Mapping[str, Any] | None = find_function(tools, run).parameters
    except Failed:
        schema = None
    return Masker(
        secrets_of(
            run.get("credentials") or {},
            run.get("parameters") or {},
            schema,
            run["target"].get("settings") or {},
        )
    )


def work(tools: Mapping[str, Tool], held: Held, context: RunContext) -> dict[str, Any]:
    """Carry out the run's function and return the body of its result.

    The run is `running` when this is called. Raises WorkStopped for an ending that is not this
    agent's to report.
    """
    try:
        function = find_function(tools, held.run)
        try:
            outcome = function.run(tools[str(held.run["tool"])].instance, context)
        except Exception:
            # What a tool raises because it was told to stop is not an error of its own.
            held.check()
            context.records.flush()
            raise
        context.records.flush()
        return completed(replace(outcome, counts=outcome.counts or context.records.counts()))
    except WorkStopped as stopped:
        if stopped.reason not in ENDINGS:
            raise
        return stopped_body(stopped.reason)
    except Failed as failure:
        return failed(failure.message, failure.error)
    except PortalError as error:
        return failed(f"The portal refused what the run sent: {error}")
    except Exception as error:
        log.exception("Run %s failed with an error that its tool does not know", held.id)
        words = f"{type(error).__name__}: {error}"
        return failed(f"The tool failed: {words}", traceback.format_exc())


def completed(outcome: Outcome) -> dict[str, Any]:
    """Return the body of a completed result."""
    body: dict[str, Any] = {"status": "completed", "message": outcome.message}
    if outcome.counts:
        body["counts"] = dict(outcome.counts)
    if outcome.summary:
        body["summary"] = outcome.summary
    return body


def failed(message: str, error: str = "", reason: str = "") -> dict[str, Any]:
    """Return the body of a failed result."""
    body: dict[str, Any] = {"status": "failed", "message": message}
    if error:
        body["error"] = error
    if reason:
        body["reason"] = reason
    return body


def stopped_body(reason: Reason) -> dict[str, Any]:
    """Return the body for work that was stopped by the agent itself."""
    return failed(*ENDINGS[reason])


def fit_to_send(body: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    """Return a result's body without secrets, and with texts of the length that people read.

    Masked before it is cut: half a secret would not be found.
    """
    fit: dict[str, Any] = masker.whole(body)
    fit["message"] = _one_line(fit["message"])
    for name in ("error", "summary"):
        if name in fit:
            fit[name] = _clean(fit[name])[:LONGEST_TEXT]
    return fit


def _one_line(text: str) -> str:
    spaced = "".join(c if c.isprintable() else " " for c in _clean(text)).strip()
    return spaced if len(spaced) <= LONGEST_LINE else f"{spaced[: LONGEST_LINE - 1]}…"


def _clean(text: str) -> str:
    # Neither UTF-8 nor the portal's database can hold these.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
