"""Places that a tool goes to, and who may be given a run's credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yardmaster.sdk import Context, Failed

NAMES = frozenset({"username", "password", "private_key", "passphrase", "token", "headers"})


@dataclass(frozen=True)
class Server:
    """Where an SSH server is."""

    host: str
    port: int

    @property
    def known_as(self) -> str:
        """Return its name in a known_hosts file."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


@dataclass(frozen=True)
class Place:
    """What a target's address says."""

    server: Server
    username: str
    path: str


def credentials_for(context: Context, host: str) -> Mapping[str, Any]:
    """Return the run's credentials for a host, or raise Failed when it may not have them.

    Those of the agent's own file go to the hosts that they name and to no others: who may edit a
    job could have them sent elsewhere otherwise.
    """
    credentials = context.credentials
    hosts = credentials.get("hosts")
    if hosts is not None and host.lower() not in hosts:
        raise Failed(
            f"The agent's own credentials are not for {host}.",
            "They name the hosts that they are for: hosts = ["
            + ", ".join(f'"{one}"' for one in [*hosts, host])
            + "] under that name in the agent's credentials.toml would add this one.",
        )
    return credentials


def text_of(credentials: Mapping[str, Any], name: str) -> str:
    """Return a text of the credentials, empty without it; raises Failed for anything else."""
    value = credentials.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Failed(f"“{name}” in the credentials has to be a text.")
    return value
