"""What a tool is made of: its functions, what they are given and how they end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TypeVar

from yardmaster.objects import Entry

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
    """The run must not go on; raised by `Context.check` and by everything that calls it.

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
    """What a function is given, and its only way to the outside."""

    target: Target
    parameters: Mapping[str, Any]
    credentials: Mapping[str, Any]
    # A folder of this tool and target alone, kept between runs.
    cache_folder: Path
    # The agent's own folder, which no tool may send anywhere.
    private_folder: Path
    # A file above this size does not enter git.
    object_bytes: int

    def log(self, text: str) -> None:
        """Add a line to the run's log; secrets in it are masked."""

    def warn(self, text: str) -> None:
        """Add a line that somebody should read."""

    def progress(self, percent: int) -> None:
        """Say how far the work is, 0 to 100; it never goes back."""

    def check(self) -> None:
        """Raise Stopped when the lease or the time limit is over; call it often."""

    def remaining(self) -> float | None:
        """Return the seconds left until the run's time limit, None when it has none."""

    def snapshot(self, source: Source) -> SnapshotAnswer:
        """Send the source's files, as far as the portal lacks them, and seal the snapshot.

        Raises SourceChanged when a file no longer has the bytes of its entry; it may then be
        called again with a newly read source.
        """


Body = Callable[[Any, Context], Outcome]


@dataclass(frozen=True)
class Function:
    """One function of a tool, as it is advertised to the portal."""

    name: str
    title: str
    produces: Produces
    parameters: Mapping[str, Any]
    takes: tuple[str, ...]
    body: Body

    def advertised(self) -> dict[str, Any]:
        """Return the form that hello sends."""
        return {
            "name": self.name,
            "title": self.title,
            "produces": self.produces,
            "takes": list(self.takes),
            "parameters": dict(self.parameters),
        }


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
        return self.functions[name].body(self.instance, context)


T = TypeVar("T")
_TOOL = "_yardmaster_tool"


def function(
    *,
    title: str,
    produces: Produces,
    parameters: Mapping[str, Any],
    takes: Sequence[str] = (),
) -> Callable[[Body], Function]:
    """Make a method a function of its tool; its name is the function's name.

    `parameters` is a JSON Schema (2020-12); mark a property with `"secret": true` and its value
    is shown to no person and masked in logs.
    """

    def decorate(body: Body) -> Function:
        return Function(body.__name__, title, produces, parameters, tuple(takes), body)

    return decorate


def tool(*, name: str, version: str) -> Callable[[type[T]], type[T]]:
    """Make a class a tool: its members made with `function` are what it can do."""

    def decorate(cls: type[T]) -> type[T]:
        functions = {
            member.name: member for member in vars(cls).values() if isinstance(member, Function)
        }
        setattr(cls, _TOOL, Tool(name, version, functions, cls()))
        return cls

    return decorate


def tool_of(cls: type) -> Tool:
    """Return the tool that a class was made."""
    made: Tool = getattr(cls, _TOOL)
    return made
