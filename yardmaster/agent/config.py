"""Where the agent keeps what it must not lose, and what it remembers of its enrolment."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any


class ConfigError(Exception):
    """The agent's folder does not hold what it should; the message says what to do."""


@dataclass(frozen=True)
class Config:
    """One enrolment. `slots` is this machine's own limit on runs at a time, beside the portal's."""

    portal: str
    agent: str
    name: str
    token: str
    organization: str = ""
    site: str | None = None
    slots: int | None = None
    insecure_http: bool = False
    # Given by the portal in place of `token`, and not known to work yet.
    next_token: str = ""


def default_folder() -> Path:
    """Return the agent's folder: YARDMASTER_HOME, or the platform's place for such state."""
    if home := os.environ.get("YARDMASTER_HOME"):
        return Path(home)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "yardmaster"


def config_file(folder: Path) -> Path:
    """Return the file with the enrolment."""
    return folder / "config.json"


def read(folder: Path) -> Config:
    """Return the enrolment kept in the folder, or raise ConfigError."""
    path = config_file(folder)
    try:
        stored = json.loads(path.read_text("utf-8"))
        known = {field.name for field in fields(Config)}
        config = Config(**{name: value for name, value in stored.items() if name in known})
    except FileNotFoundError:
        raise ConfigError(
            f"No agent is enrolled in {folder}. Paste the line that the portal shows under"
            " “Add an agent”: yardmaster agent enroll https://…"
        ) from None
    except PermissionError:
        raise ConfigError(f"{path} cannot be read by this user.") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Enrol again with --replace.") from None
    slots = config.slots
    if slots is not None and (not isinstance(slots, int) or isinstance(slots, bool) or slots < 1):
        raise ConfigError(f"“slots” in {path} has to be a number of 1 or more, or null.")
    return config


def make_folder(folder: Path) -> None:
    """Make a folder of the agent, readable by its owner alone; so are those made on the way."""
    if not folder.parent.exists():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)


def write(folder: Path, config: Config) -> None:
    """Keep an enrolment; the file holds the token and is readable by its owner alone."""
    write_json(config_file(folder), asdict(config))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file so that a crash leaves the old one or the new one, and 2xx follow on disk.

    Order: temporary file, fsync, rename, fsync of the folder.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o600)
        json.dump(value, stream, ensure_ascii=True, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that were added to or removed from a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(folder: Path) -> IO[str]:
    """Take the folder for this process until the returned file is closed, or raise ConfigError."""
    stream = open(folder / "lock", "a+", encoding="utf-8")  # noqa: SIM115
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise ConfigError(
            f"An agent is running in {folder} already. A second one needs its own --dir."
        ) from None
    return stream


def is_locked(folder: Path) -> bool:
    """Return whether an agent is running in the folder."""
    try:
        lock(folder).close()
    except ConfigError:
        return True
    return False
