"""Logs in to an SSH server, and fetches a folder of it."""

import logging
import os
import stat as st
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from re import Pattern
from typing import Any

import paramiko

from yardmaster.sdk import Context, Failed
from yardmaster.tools.hostkeys import connected
from yardmaster.tools.names import is_gits_own, why_refused
from yardmaster.tools.places import Place, Server, credentials_for, text_of
from yardmaster.tools.scan import DEEPEST, TRIES, Scan

BLOCK = 32 * 1024
SILENCE_S = 30.0
# Requests on their way at once while a file is read.
AHEAD = 64
KEYS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

# What goes wrong is said in the run; the library's own lines would go to standard error.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@contextmanager
def logged_in(context: Context, place: Place, fingerprint: str) -> Iterator[paramiko.SFTPClient]:
    """Give a connection to the server that is logged in, for as long as the block lasts.

    Raises Failed when the server is not the one that is known, or does not let us in.
    """
    server = place.server
    # Refused before anything is connected.
    credentials = credentials_for(context, server.host)
    username = text_of(credentials, "username") or place.username
    if not username:
        raise Failed(f"No user name for {server.known_as} was given.")
    transport = connected(server, context.private_folder / "known_hosts", fingerprint)
    try:
        with context.on_stop(transport.close):
            _log_in(transport, server, username, credentials)
            try:
                client = paramiko.SFTPClient.from_transport(transport)
            except paramiko.SSHException:
                client = None
            if client is None:
                raise Failed(f"{server.known_as} offers no SFTP.")
            channel = client.get_channel()
            if channel is not None:
                channel.settimeout(SILENCE_S)
            try:
                yield client
            except (paramiko.SSHException, EOFError, TimeoutError) as error:
                words = str(error) or "it fell silent"
                raise Failed(f"The connection to {server.known_as} was lost: {words}") from None
    finally:
        transport.close()


def _log_in(
    transport: paramiko.Transport, server: Server, username: str, credentials: Mapping[str, Any]
) -> None:
    transport.auth_timeout = SILENCE_S
    key, password = text_of(credentials, "private_key"), text_of(credentials, "password")
    if not key and not password:
        raise Failed(f"No password and no private key for {server.known_as} was given.")
    try:
        if key:
            loaded = _private_key(key, text_of(credentials, "passphrase"))
            further = transport.auth_publickey(username, loaded)
        else:
            further = transport.auth_password(username, password)
    except paramiko.BadAuthenticationType as error:
        ways = ", ".join(error.allowed_types)
        raise Failed(f"{server.known_as} does not take that way to log in, but {ways}.") from None
    except (paramiko.SSHException, EOFError, OSError):
        what = "key" if key else "password"
        raise Failed(f"{server.known_as} does not take the user name with this {what}.") from None
    if further:
        raise Failed(f"{server.known_as} asks for more than one proof: {', '.join(further)}.")


def _private_key(text: str, passphrase: str) -> paramiko.PKey:
    for kind in KEYS:
        try:
            return kind.from_private_key(StringIO(text), passphrase or None)
        except paramiko.PasswordRequiredException:
            raise Failed("The private key is encrypted, and no passphrase was given.") from None
        except (paramiko.SSHException, ValueError, IndexError, UnicodeDecodeError, TypeError):
            continue
    raise Failed(
        "The private key cannot be read.",
        "It has to be an Ed25519, ECDSA or RSA key in OpenSSH's or PEM form, and the passphrase"
        " that of this key.",
    )


@dataclass
class Walk:
    """Fetches a tree of the server into `scan.root`, and notes what could not be."""

    context: Context
    client: paramiko.SFTPClient
    scan: Scan
    include: Pattern[str] | None
    exclude: Pattern[str] | None
    limit: int | None
    links: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def start(self, place: Place) -> None:
        where = f"{place.path} on {place.server.known_as}"
        try:
            top = self.client.normalize(place.path)
            if not st.S_ISDIR(self.client.stat(top).st_mode or 0):
                raise Failed(f"{where} is not a folder.")
            found = self.client.listdir_attr(top)
        except FileNotFoundError:
            raise Failed(f"{where} does not exist.") from None
        except UnicodeDecodeError:
            raise Failed(f"{where} holds a name that is not UTF-8; rename it.") from None
        except OSError as error:
            raise Failed(f"{where} cannot be read: {error.strerror or error}.") from None
        self.entries(top, found, "", 0)
        # Last, so that nothing that was fetched is ever written through one.
        for path, points_to in self.links.items():
            try:
                os.symlink(points_to, self.local(path))
            except (OSError, ValueError):
                self.problem(path, "it is a link to nowhere that a file system can name")

    def entries(
        self, folder: str, found: list[paramiko.SFTPAttributes], prefix: str, depth: int
    ) -> None:
        for item in sorted(found, key=lambda item: item.filename):
            self.context.check()
            path = prefix + item.filename
            if self.exclude is not None and self.exclude.fullmatch(path):
                continue
            mode = item.st_mode or 0
            wanted = self.include is None or self.include.fullmatch(path)
            if not (st.S_ISDIR(mode) or wanted) or not self.good_name(item.filename, path):
                continue
            try:
                self.entry(f"{folder.rstrip('/')}/{item.filename}", path, item, depth)
            except FileNotFoundError:
                # Removed since the folder was listed, as after a later start.
                continue
            except TimeoutError:
                raise
            except UnicodeDecodeError:
                self.problem(path, "it holds a name that is not UTF-8; rename or exclude it")
            except OSError as error:
                self.problem(path, error.strerror or str(error))

    def entry(self, remote: str, path: str, item: paramiko.SFTPAttributes, depth: int) -> None:
        mode = item.st_mode or 0
        if st.S_ISDIR(mode):
            if depth >= DEEPEST:
                self.problem(path, f"folders are nested deeper than {DEEPEST} levels")
            else:
                self.entries(remote, self.client.listdir_attr(remote), f"{path}/", depth + 1)
        elif st.S_ISLNK(mode):
            self.links[path] = self.client.readlink(remote) or ""
        elif not st.S_ISREG(mode):
            self.scan.left_out.append(f"{path}: it is neither a file, a folder nor a link")
        elif self.limit is not None and (item.st_size or 0) > self.limit:
            self.too_large(path, item.st_size or 0)
        else:
            self.file(remote, path)

    def file(self, remote: str, path: str) -> None:
        """Fetch a file, again when it changed meanwhile."""
        for _ in range(TRIES):
            local = self.local(path)
            with self.client.open(remote, "rb") as source:
                before = source.stat()
                size = self.copy(source, before.st_size or 0, local)
                after = source.stat()
            if size is None:
                local.unlink()
                self.too_large(path, after.st_size or 0)
                return
            if (before.st_size, before.st_mtime) == (after.st_size, after.st_mtime) and (
                size == after.st_size
            ):
                local.chmod(0o700 if (after.st_mode or 0) & st.S_IXUSR else 0o600)
                return
            local.unlink()
        self.problem(path, f"it kept changing while it was read ({TRIES} times)")

    def copy(self, source: paramiko.SFTPFile, size: int, local: Path) -> int | None:
        """Copy a file's bytes and return how many; None once they are above the limit."""
        source.prefetch(size, AHEAD)
        copied = 0
        with local.open("xb") as kept:
            while block := source.read(BLOCK):
                self.context.check()
                copied += len(block)
                if self.limit is not None and copied > self.limit:
                    return None
                kept.write(block)
        return copied

    def local(self, path: str) -> Path:
        """Return where a path is kept; the folders on the way are made."""
        kept = self.scan.root / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        return kept

    def good_name(self, name: str, path: str) -> bool:
        """Return whether a name can be kept; the server's word must not choose a place here."""
        if is_gits_own(name):
            self.scan.left_out.append(f"{path}: git's own files are never kept")
            return False
        reason = why_refused(name, path)
        if not name or "/" in name or name in {".", ".."} or path in self.taken:
            reason = reason or "the server's list of its folder makes no sense"
        self.taken.add(path)
        if reason:
            self.scan.problems.append(f"{path!r}: {reason}; rename or exclude it")
        return not reason

    def too_large(self, path: str, size: int) -> None:
        self.scan.left_out.append(
            f"{path}: it has {size} bytes, more than the limit of {self.limit}"
        )

    def problem(self, path: str, words: str) -> None:
        self.scan.problems.append(f"{path}: {words}")
