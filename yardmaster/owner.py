"""What the owner of this machine allows and entrusts to the agent: tools, commands, credentials.

Two files in the agent's folder, written by a person and never sent to the portal:

- `agent.toml`: `tools = ["my_module"]`, and a table `[commands.NAME]` for each command that jobs
  may start. What the portal asks for beyond that is refused.
- `credentials.toml`: a table for each name that jobs may use, readable by its owner alone.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yardmaster.agent.config import ConfigError

_COMMAND = frozenset({"run", "arguments", "folder", "environment"})


@dataclass(frozen=True)
class Command:
    """A command that jobs may start: its fixed beginning, and the arguments that may follow."""

    run: tuple[str, ...]
    # Each argument of a job has to match one of them wholly; with none there are no arguments.
    arguments: tuple[re.Pattern[str], ...] = ()
    folder: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Allowed:
    """What `agent.toml` says; nothing is allowed where there is none."""

    tools: tuple[str, ...] = ()
    commands: Mapping[str, Command] = field(default_factory=dict)


def allowed(folder: Path) -> Allowed:
    """Return what the owner allows, or raise ConfigError.

    A file that others may write would let them start commands as this user: it is refused.
    """
    path = folder / "agent.toml"
    stored = _read(path, stat.S_IWGRP | stat.S_IWOTH, "may be changed by others", "chmod go-w")
    if unknown := sorted(set(stored) - {"tools", "commands"}):
        raise ConfigError(f"{path} has “{unknown[0]}”; there are “tools” and “commands”.")
    tools, commands = stored.get("tools", []), stored.get("commands", {})
    if not _is_texts(tools):
        raise ConfigError(f"“tools” in {path} has to be a list of module names.")
    if not isinstance(commands, dict):
        raise ConfigError(f"“commands” in {path} has to be tables: [commands.NAME].")
    return Allowed(
        tuple(tools), {name: _command(path, name, table) for name, table in commands.items()}
    )


def own_credentials(folder: Path, name: str) -> dict[str, Any]:
    """Return what the owner keeps under a name, or raise ConfigError.

    The answer always holds `hosts`, the hosts that may be given them: whoever may edit a job on
    the portal could otherwise have them sent to a machine of their own.
    """
    path = folder / "credentials.toml"
    stored = _read(path, 0o077, "may be read by others", "chmod 600")
    found = stored.get(name)
    if not isinstance(found, dict):
        raise ConfigError(f"The agent has no credentials named “{name}” in its credentials.toml.")
    hosts = found.get("hosts", [])
    if not _is_texts(hosts):
        raise ConfigError(f"“hosts” of “{name}” in {path} has to be a list of host names.")
    return {**found, "hosts": [host.lower() for host in hosts]}


def _read(path: Path, bad: int, why: str, cure: str) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            if found.st_mode & bad:
                raise ConfigError(f"{path} {why}. Put that right with: {cure} {path}")
            if found.st_uid not in {0, os.geteuid()}:
                raise ConfigError(f"{path} belongs to another user, who could change it.")
            return tomllib.load(stream)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The message of a parser may hold a piece of the line, and of a password.
        where = re.search(r"\(at .*\)", str(error))
        raise ConfigError(f"{path} is not TOML {where[0] if where else ''}".strip() + ".") from None


def _command(path: Path, name: str, table: Any) -> Command:
    where = f"[commands.{name}] in {path}"
    if not isinstance(table, dict) or not _is_texts(table.get("run")) or not table["run"]:
        raise ConfigError(f'{where} needs run = ["/path/of/program", "argument", …].')
    if unknown := sorted(set(table) - _COMMAND):
        raise ConfigError(f"{where} has “{unknown[0]}”; there are {', '.join(sorted(_COMMAND))}.")
    if not Path(table["run"][0]).is_absolute():
        raise ConfigError(f"{where}: the program has to be an absolute path, such as /usr/bin/env.")
    patterns, environment = table.get("arguments", []), table.get("environment", {})
    if not _is_texts(patterns):
        raise ConfigError(f"{where}: “arguments” has to be a list of patterns.")
    if not isinstance(environment, dict) or not _is_texts(list(environment.values())):
        raise ConfigError(f"{where}: “environment” has to be a table of texts.")
    folder = table.get("folder", "/")
    if not isinstance(folder, str) or not Path(folder).is_absolute():
        raise ConfigError(f"{where}: “folder” has to be an absolute path.")
    try:
        compiled = tuple(re.compile(pattern) for pattern in patterns)
    except re.error as error:
        raise ConfigError(f"{where}: “arguments” holds no regular expression: {error}.") from None
    return Command(tuple(table["run"]), compiled, folder, environment)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
