"""What a tool is made of: its functions, what they are given and how they end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TypeVar

from yardmaster.objects import Entry
from yardmaster.parameters import (
    Field,
    Parameter,
    Secret,
    WrongValue,
    parameters_of,
    schema_of,
    values_of,
)

__all__ = [
    "Context",
    "Failed",
    "Field",
    "Function",
    "Outcome",
    "Secret",
    "SnapshotAnswer",
    "Source",
    "SourceChanged",
    "Stopped",
    "Target",
    "Tool",
    "function",
    "tool",
    "tool_of",
]

RecordStatus = Literal["success", "failed", "skipped"]
Produces = Literal["snapshot", "files", "nothing"]


class Failed(Exception):
    """The function could not do what was asked, for a reason that a person can act on.

    `message` is one line for the run's list entry, `error` may be long.
    """

    def __init__(self, message: str, error: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.error = error


class Stopped(BaseException):
    """The run must not go on; raised by `Context.check` and by all that says or sends something.

    Not an Exception, so that a function's own `except Exception` does not swallow it.
    """


class SourceChanged(Exception):
    """A file is not any more what the snapshot's list says: read the source again."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} changed while it was being sent.")
        self.path = path


@dataclass(frozen=True)
class Outcome:
    """How a function that did its work ends: one line for people, and its counts.

    `counts` may hold `total`, `successful`, `failed` and `skipped`.
    """

    message: str
    counts: Mapping[str, int] = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True)
class Target:
    """What a run acts on."""

    id: str
    name: str
    kind: str
    address: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class SnapshotAnswer:
    """What the portal says about a snapshot: its verdict, and the changes from the base.

    `counts` holds `added`, `modified`, `removed` and `renamed`; all are 0 for `up_to_date`.
    """

    verdict: str
    counts: Mapping[str, int]


class Source(Protocol):
    """The files of one snapshot, in any order; `tree` is their git tree id."""

    @property
    def tree(self) -> str:
        """Return the git tree id of all entries."""

    @property
    def entries(self) -> Sequence[Entry]:
        """Return all files and links."""

    def open(self, entry: Entry) -> BinaryIO:
        """Open an entry's bytes for reading (for a link, where it points to)."""


class Context(Protocol):
    """What a function is given, and its only way to the outside.

    Whatever says or sends something raises Stopped once the run must not go on.
    """

    target: Target
    parameters: Mapping[str, Any]
    # What came with the run, or what the job named in this agent's own file. Those of the file
    # hold `hosts`, the only hosts that may be given them.
    credentials: Mapping[str, Any]
    # A folder of this tool and target alone, kept between runs.
    cache_folder: Path
    # The agent's own folder, which no tool may send anywhere.
    private_folder: Path
    # A file above this size does not enter git.
    object_bytes: int

    def log(self, text: str, end: str = "\n") -> None:
        """Add a line to the run's log; secrets in it are masked."""

    def warn(self, text: str) -> None:
        """Add a line that somebody should read."""

    def progress(self, percent: int) -> None:
        """Say how far the work is, 0 to 100; it never goes back."""

    def check(self) -> None:
        """Raise Stopped when the lease or the time limit is over; call it often."""

    def remaining(self) -> float | None:
        """Return the seconds left until the run's time limit, None when it has none."""

    def on_stop(self, cancel: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `cancel` from another thread if the run has to stop while the block goes on.

        For work that waits inside a library: close its connection there. Whatever the work then
        raises is taken for the stop that it is.
        """

    def record(
        self,
        status: RecordStatus,
        *,
        record_id: str = "",
        name: str = "",
        result: str = "",
        error: str = "",
    ) -> None:
        """Report one of the things that the run dealt with.

        A function that returns no counts of its own gets those of its records.
        """

    def artifact(
        self, source: Path | bytes, *, name: str = "", media_type: str = "application/octet-stream"
    ) -> None:
        """Keep a file with the run, for people to download; `name` may be left out for a path."""

    def snapshot(self, source: Source) -> SnapshotAnswer:
        """Send the source's files, as far as the portal lacks them, and seal the snapshot.

        Raises SourceChanged when a file no longer has the bytes of its entry; it may then be
        called again with a newly read source.
        """

    def temporary_folder(self) -> AbstractContextManager[Path]:
        """Give an empty folder that is gone after the block."""


Body = Callable[..., Outcome | str | None]


@dataclass(frozen=True)
class Function:
    """One function of a tool, as it is advertised to the portal.

    `typed` are the parameters that its body names; None where the schema was written by hand and
    the body reads `context.parameters`.
    """

    name: str
    title: str
    produces: Produces
    parameters: Mapping[str, Any]
    takes: tuple[str, ...]
    body: Body
    typed: tuple[Parameter, ...] | None = None

    def advertised(self) -> dict[str, Any]:
        """Return the form that hello sends."""
        return {
            "name": self.name,
            "title": self.title,
            "produces": self.produces,
            "takes": list(self.takes),
            "parameters": dict(self.parameters),
        }

    def run(self, instance: Any, context: Context) -> Outcome:
        """Carry it out; raises Failed for parameters of the wrong type."""
        if self.typed is None:
            given: Mapping[str, Any] = {}
        else:
            # Which of the agent's own credentials to use is the agent's parameter, not the body's.
            named = {name: v for name, v in context.parameters.items() if name != CREDENTIALS}
            try:
                given = values_of(self.typed, named)
            except WrongValue as error:
                raise Failed(str(error)) from None
        outcome = self.body(instance, context, **given)
        if isinstance(outcome, Outcome):
            return outcome
        return Outcome(outcome or "Done.")


@dataclass(frozen=True)
class Tool:
    """A tool in one version with its functions by name."""

    name: str
    version: str
    functions: Mapping[str, Function]
    instance: Any

    def advertised(self) -> dict[str, Any]:
        """Return the form that hello sends."""
        functions = [function.advertised() for function in self.functions.values()]
        return {"name": self.name, "version": self.version, "functions": functions}

    def run(self, name: str, context: Context) -> Outcome:
        """Carry out the function of that name."""
        return self.functions[name].run(self.instance, context)


T = TypeVar("T")
_TOOL = "_yardmaster_tool"
CREDENTIALS = "credentials"
_NAMED = {
    "type": "string",
    "title": "Credentials on the agent",
    "description": "A name in the agent's own credentials.toml. Empty: those that the portal sends,"
    " if any.",
}


def function(
    *,
    title: str = "",
    produces: Produces = "nothing",
    parameters: Mapping[str, Any] | None = None,
    takes: Sequence[str] = (),
    credentials: bool = False,
) -> Callable[[Body], Function]:
    """Make a method a function of its tool; its name is the function's name.

    Without `title` the docstring's first line is it. Without `parameters` the JSON Schema (2020-12)
    is made of what the method takes after `self` and `context` (see `yardmaster.parameters`); with
    it, mark a property with `"secret": true` and its value is shown to no person and masked in
    logs. `credentials` adds a parameter that names some of the agent's own.
    """

    def decorate(body: Body) -> Function:
        typed = parameters_of(body, 2) if parameters is None else None
        schema = dict(parameters or {}) if typed is None else schema_of(typed)
        if CREDENTIALS in schema.get("properties", {}):
            raise TypeError(
                f"{body.__qualname__}: a parameter “{CREDENTIALS}” names the agent's own; ask for"
                " it with @function(credentials=True)."
            )
        if credentials:
            # Last, so that a form asks for the work itself first.
            schema["properties"] = {**schema.get("properties", {}), CREDENTIALS: _NAMED}
        first = (body.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        if not (title or first):
            raise TypeError(f"{body.__qualname__} needs a title or a docstring, for people.")
        return Function(body.__name__, title or first, produces, schema, tuple(takes), body, typed)

    return decorate


def tool(*, name: str, version: str) -> Callable[[type[T]], type[T]]:
    """Make a class a tool: its members made with `function` are what it can do."""

    def decorate(cls: type[T]) -> type[T]:
        functions = {
            member.name: member for member in vars(cls).values() if isinstance(member, Function)
        }
        if not functions:
            raise TypeError(f"The tool {name} has no function: decorate a method with @function().")
        setattr(cls, _TOOL, Tool(name, version, functions, cls()))
        return cls

    return decorate


def tool_of(cls: type) -> Tool:
    """Return the tool that a class was made."""
    made: Tool = getattr(cls, _TOOL)
    return made


def tools_in(module: Any) -> Iterator[Tool]:
    """Give the tools that a module defines; what it only imports is another module's."""
    for value in vars(module).values():
        if isinstance(value, type) and _TOOL in vars(value) and value.__module__ == module.__name__:
            yield tool_of(value)
