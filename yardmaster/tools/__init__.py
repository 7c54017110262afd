"""Which tools this agent has: those that come with it, and those of its owner."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from yardmaster.agent.config import ConfigError
from yardmaster.owner import allowed
from yardmaster.sdk import Tool, tool_of, tools_in

RESERVED = frozenset({"folder", "http", "sftp", "command"})
# Packages that bring tools name their modules under this.
GROUP = "yardmaster.tools"


def installed_tools(folder: Path | None = None) -> dict[str, Tool]:
    """Return the tools by name: ours, and with the agent's folder those of its owner too.

    Raises ConfigError when one of the owner's cannot be used: an agent that quietly lacks a tool
    would fail every run that needs it.
    """
    found = {tool.name: tool for tool in _ours(folder)}
    for where, tool in [] if folder is None else _owners(folder):
        if tool.name in RESERVED or tool.name in found:
            raise ConfigError(f"{where} has a tool named “{tool.name}”, and there is one already.")
        found[tool.name] = tool
    return found


def _ours(folder: Path | None) -> Iterator[Tool]:
    from yardmaster.tools.folder import Folder
    from yardmaster.tools.http import Http

    yield tool_of(Folder)
    yield tool_of(Http)
    if importlib.util.find_spec("paramiko") is not None:
        from yardmaster.tools.sftp import Sftp

        yield tool_of(Sftp)
    if folder is not None and allowed(folder).commands:
        from yardmaster.tools.command import CommandTool

        yield tool_of(CommandTool)


def _owners(folder: Path) -> Iterator[tuple[str, Tool]]:
    """Give the tools of the owner, each with where it is from.

    Modules that `agent.toml` names may lie in the folder `tools` beside it.
    """
    named = [(f"The module {name} in agent.toml", name) for name in allowed(folder).tools]
    installed = [(f"The package {e.dist and e.dist.name}", e.module) for e in _entry_points()]
    if named and str(folder / "tools") not in sys.path:
        # For what those modules import of each other.
        sys.path.append(str(folder / "tools"))
    seen: set[str] = set()
    for where, name in named + installed:
        if name in seen:
            continue
        seen.add(name)
        try:
            module = _module(folder / "tools" / f"{name}.py", name)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            raise ConfigError(f"{where} cannot be loaded. {words}") from error
        tools = list(tools_in(module))
        if not tools:
            raise ConfigError(f"{where} has no class made a tool with @tool(…).")
        for tool in tools:
            yield where, tool


def _module(beside: Path, name: str) -> ModuleType:
    """Return a module: the owner's file if there is one, whatever else has that name."""
    spec = importlib.util.spec_from_file_location(name, beside) if beside.exists() else None
    if spec is None or spec.loader is None:
        return importlib.import_module(name)
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look for their module there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _entry_points() -> Iterator[importlib.metadata.EntryPoint]:
    yield from entry_points(group=GROUP)
