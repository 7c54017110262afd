"""Whether an SSH server is the one that its owner knows, asked before anything else is sent."""

import base64
import hashlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeys
from paramiko.ssh_exception import IncompatiblePeer

from yardmaster.sdk import Failed
from yardmaster.tools.places import Server

CONNECT_S = 15.0
# The kinds of keys that a server may show, the newest first; a server has one key of each.
KINDS: tuple[tuple[str, ...], ...] = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)


def connected(server: Server, known_hosts: Path, fingerprint: str) -> paramiko.Transport:
    """Return a connection to the server that showed the right key; nobody is logged in yet.

    The agent's known_hosts decides where it names the server, and the fingerprint where one is
    given: both, where there are both. Raises Failed for every other key.
    """
    known = _known(server, known_hosts)
    wanted = _bare(fingerprint)
    if not known and not wanted:
        kinds: Sequence[tuple[str, ...]] = [sum(KINDS, ())]
    else:
        # One kind at a time: a server shows only one of its keys, and not always the known one.
        kinds = [kind for kind in KINDS if not known or any(_fits(key, kind) for key in known)]
    shown: list[paramiko.PKey] = []
    for transport in _tries(server, kinds):
        key = transport.get_remote_server_key()
        if (known or wanted) and (not known or key in known) and wanted in {"", _bare_of(key)}:
            return transport
        transport.close()
        shown.append(key)
    raise _refused(server, known_hosts, known, wanted, shown)


def fingerprint_of(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as OpenSSH writes it."""
    return f"SHA256:{_bare_of(key)}"


def _bare_of(key: paramiko.PKey) -> str:
    return base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def _bare(fingerprint: str) -> str:
    written = fingerprint.strip()
    if not written:
        return ""
    bare = written.removeprefix("SHA256:").rstrip("=")
    if len(bare) != 43:
        raise Failed(
            f"{written!r} is no fingerprint of a host key.",
            "It looks like SHA256:… with 43 characters; on the server, ssh-keygen -lf"
            " /etc/ssh/ssh_host_ed25519_key.pub prints it.",
        )
    return bare


def _fits(key: paramiko.PKey, kind: tuple[str, ...]) -> bool:
    name = key.get_name()
    return name in kind or (name == "ssh-rsa" and "rsa-sha2-512" in kind)


def _known(server: Server, known_hosts: Path) -> list[paramiko.PKey]:
    """Return the keys that the owner knows of the server."""
    try:
        if known_hosts.stat().st_mode & 0o022:
            raise Failed(
                f"{known_hosts} may be changed by others.",
                f"Put that right with: chmod go-w {known_hosts}",
            )
        entries = HostKeys(str(known_hosts)).lookup(server.known_as)
    except FileNotFoundError:
        return []
    except (OSError, paramiko.SSHException, ValueError) as error:
        raise Failed(f"{known_hosts} cannot be read: {error}") from None
    return [] if entries is None else list(entries.values())


def _tries(server: Server, kinds: Sequence[tuple[str, ...]]) -> Iterator[paramiko.Transport]:
    """Connect once for each set of kinds that the server has a key of."""
    for kind in kinds:
        try:
            opened = socket.create_connection((server.host, server.port), CONNECT_S)
        except OSError as error:
            raise Failed(
                f"{server.known_as} cannot be reached: {error.strerror or error}."
            ) from None
        transport = paramiko.Transport(opened)
        try:
            transport.banner_timeout = CONNECT_S
            transport.get_security_options().key_types = kind
            transport.start_client(timeout=CONNECT_S)
        except IncompatiblePeer:
            transport.close()
            continue
        except (paramiko.SSHException, OSError, EOFError) as error:
            transport.close()
            words = str(error) or "it closed the connection"
            raise Failed(f"{server.known_as} does not speak SSH with this agent: {words}") from None
        yield transport


def _refused(
    server: Server,
    known_hosts: Path,
    known: Sequence[paramiko.PKey],
    wanted: str,
    shown: Sequence[paramiko.PKey],
) -> Failed:
    name = server.known_as
    if not shown:
        return Failed(f"{name} has no host key of a kind that this agent knows of it.")
    said = ", ".join(f"{key.get_name()} {fingerprint_of(key)}" for key in shown)
    lines = "\n".join(f"{name} {key.get_name()} {key.get_base64()}" for key in shown)
    if not known and not wanted:
        return Failed(
            f"This agent does not know the host key of {name}: {fingerprint_of(shown[0])}.",
            "Nothing was sent to it. If that is the server's key (on the server, ssh-keygen -lf"
            " /etc/ssh/ssh_host_ed25519_key.pub prints one), give it as the parameter"
            f" “fingerprint”, or add this line to {known_hosts}:\n{lines}",
        )
    by = "the fingerprint of the job" if not known else "the key that this agent knows"
    return Failed(
        f"The host key of {name} is not {by}: the connection was refused.",
        f"It shows {said}. Either the server was set up anew, or somebody is between it and this"
        " agent. No credentials were sent. If the new key is right, put it in the old one's place:"
        f" as the parameter “fingerprint”, or in {known_hosts}:\n{lines}",
    )
