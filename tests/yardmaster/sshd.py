"""A real OpenSSH server for one test: own keys, own settings, a free port of this machine."""

import getpass
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from config.supervisor import child_command
from tests.servers import end, needed, wait_until

USER = getpass.getuser()
KeyPair = tuple[str, str]


@dataclass
class Sshd:
    """A running server; `private_key` logs `USER` in."""

    port: int
    private_key: str
    host_keys: list[KeyPair]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def known(self, number: int = 0) -> str:
        """Return the server's line for known_hosts."""
        return f"[127.0.0.1]:{self.port} {self.host_keys[number][1]}\n"


def key_pair(kind: str = "ed25519", passphrase: str = "") -> KeyPair:
    """Make a key; returns both halves as OpenSSH writes them."""
    made: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if kind == "ed25519":
        made = ed25519.Ed25519PrivateKey.generate()
    else:
        made = ec.generate_private_key(ec.SECP256R1())
    private = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption(),
    )
    public = made.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), public.decode()


@contextmanager
def sshd(
    folder: Path, user_key: KeyPair, host_keys: list[KeyPair], port: int = 0
) -> Iterator[Sshd]:
    """Run a server for as long as the block lasts; the folder is its own."""
    program = needed("sshd")
    if USER == "root":
        # What Debian's service makes when it starts; a server that root runs insists on it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(exist_ok=True)
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    settings = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "Subsystem sftp internal-sftp",
    ]
    for number, (private, _) in enumerate(host_keys):
        kept = folder / f"host_key_{number}"
        kept.write_text(private)
        kept.chmod(0o600)
        settings.append(f"HostKey {kept}")
    (folder / "authorized_keys").write_text(user_key[1])
    (folder / "config").write_text("\n".join(settings) + "\n")
    log = folder / "log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            child_command([str(program), "-D", "-e", "-f", str(folder / "config")]),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        wait_until(process, lambda: "listening on" in log.read_text(), "sshd", log)
        yield Sshd(port, user_key[0], host_keys)
    finally:
        end(process, signal.SIGTERM)
