"""What systemd is told of an agent, so that it runs from start to shutdown."""

import os
import pwd
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yardmaster
from yardmaster.agent import config

# systemd makes this folder when it is what started the system.
BOOTED = Path("/run/systemd/system")
# More than `agent run` takes of its own after SIGTERM: its grace and its last reports.
STOP_WITHIN_S = 30
# The agent's exit status when the portal refuses its token: starting it again would not help.
REFUSED = 77


class InstallError(Exception):
    """No unit was written; the message says why and what to do."""


@dataclass(frozen=True)
class Unit:
    """A unit file: where it goes, what it says, and what starts it."""

    path: Path
    text: str
    commands: tuple[str, ...]


def unit_for(folder: Path, *, for_user: bool, name: str = "", insecure_http: bool = False) -> Unit:
    """Return the unit of the agent in a folder.

    For the system, the agent runs as the user whose folder it is. Raises ConfigError when the
    folder holds no enrolment, InstallError for a name that no unit can have.
    """
    folder = folder.absolute()
    enrolled = config.read(folder)
    name = name or "yardmaster-agent"
    if not re.fullmatch(r"[A-Za-z0-9:_.-]{1,200}", name):
        raise InstallError(f"{name!r} cannot be the name of a service: letters, digits and - _ . :")
    command = [*_program(), "agent", "run", "--dir", str(folder)]
    if insecure_http:
        command.append("--insecure-http")
    user = [] if for_user else [f"User={_quoted(pwd.getpwuid(folder.stat().st_uid).pw_name)}"]
    lines = [
        "[Unit]",
        f"Description=Yardmaster agent {_escaped(enrolled.name)}",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={' '.join(_quoted(word) for word in command)}",
        *user,
        "Restart=always",
        "RestartSec=5",
        f"RestartPreventExitStatus={REFUSED}",
        f"TimeoutStopSec={STOP_WITHIN_S}",
        # The agent ends its work by itself; what it started gets the signal only if that fails.
        "KillMode=mixed",
        "UMask=0077",
        "NoNewPrivileges=true",
        "",
        "[Install]",
        f"WantedBy={'default' if for_user else 'multi-user'}.target",
        "",
    ]
    systemctl = "systemctl --user" if for_user else "systemctl"
    commands = [f"{systemctl} daemon-reload", f"{systemctl} enable --now {name}.service"]
    if for_user:
        # Without it a user's services end when they log out.
        commands.append("loginctl enable-linger")
    return Unit(_units(for_user) / f"{name}.service", "\n".join(lines), tuple(commands))


def write(unit: Unit, *, replace: bool = False) -> None:
    """Write a unit; raises InstallError where there is no systemd, or another unit of the name."""
    if not BOOTED.is_dir():
        raise InstallError(
            "This machine was not started by systemd, so it would never read a unit. Have its own"
            " service manager start: yardmaster agent run; --dry-run prints the unit all the same."
        )
    try:
        if unit.path.exists() and unit.path.read_text() != unit.text and not replace:
            raise InstallError(
                f"{unit.path} exists and says something else. A second agent needs its own --name;"
                " --replace writes over it."
            )
        unit.path.parent.mkdir(parents=True, exist_ok=True)
        unit.path.write_text(unit.text)
        unit.path.chmod(0o644)
    except OSError as error:
        raise InstallError(
            f"{unit.path} cannot be written: {error.strerror or error}. Run it with sudo, or"
            " with --user for a service of your own."
        ) from None


def _units(for_user: bool) -> Path:
    if not for_user:
        return Path("/etc/systemd/system")
    configured = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configured) / "systemd" / "user"


def _program() -> list[str]:
    """Return what starts this program again: the one file, or the package with its Python."""
    inside = Path(yardmaster.__file__).absolute()
    for path in inside.parents:
        if path.is_file():
            return [sys.executable, str(path)]
    beside = Path(sys.executable).with_name("yardmaster")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "yardmaster"]


def _escaped(text: str) -> str:
    """Return a text in which systemd finds no specifier and no second line."""
    return "".join(c if c.isprintable() else " " for c in text).replace("%", "%%")


def _quoted(word: str) -> str:
    """Return one word of a command as systemd reads it."""
    if re.fullmatch(r"[A-Za-z0-9/_.:=@+-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_escaped(escaped)}"'
