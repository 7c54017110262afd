"""How secrets lie in the database: encrypted, with keys that are changed while the portal serves.

The newest key comes first; it encrypts, and all of them decrypt. They come from the setting
CREDENTIAL_KEYS, or from a file in the data folder that its owner alone can read, made when the
first secret is stored. The file is read anew each time: every process has the newest key at once.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .durable import move_in


class Unreadable(Exception):
    """A stored secret was encrypted with a key that this portal does not have (any more)."""


def sealed(secret: dict[str, Any]) -> str:
    """Encrypt a JSON object with the newest key."""
    return _boxes(_keys() or _make_first()).encrypt(json.dumps(secret).encode()).decode()


def opened(text: str) -> dict[str, Any]:
    """Decrypt what `sealed` gave, with any of the keys; Unreadable when none fits."""
    try:
        return dict(json.loads(_boxes(_keys()).decrypt(text.encode())))
    except (InvalidToken, ValueError):
        raise Unreadable(
            "A stored secret cannot be decrypted: its key is neither in CREDENTIAL_KEYS nor in"
            f" {key_file().name} in the data folder. Put the key back, or store the secret anew."
        ) from None


def sealed_anew(text: str) -> str | None:
    """Encrypt again with the newest key; None where that key was used already."""
    keys = _keys()
    try:
        _boxes(keys[:1]).decrypt(text.encode())
        return None
    except (InvalidToken, ValueError):
        pass
    return sealed(opened(text))


def key_file() -> Path:
    """Name the file of the keys, one a line, the newest first."""
    return Path(settings.DATA_DIR) / "credential-keys"


def from_settings() -> bool:
    """Say whether the operator gives the keys by setting: then no file is read or written."""
    return bool(settings.CREDENTIAL_KEYS)


def add_key() -> None:
    """Put a new key before the others in the file; those stay, for what they have encrypted."""
    with _alone():
        _write([Fernet.generate_key().decode(), *_in_file()])


def drop_old_keys() -> int:
    """Leave the newest key alone in the file; gives how many went.

    Only after all that is stored was encrypted with the newest one.
    """
    with _alone():
        keys = _in_file()
        if len(keys) > 1:
            _write(keys[:1])
        return max(0, len(keys) - 1)


def _keys() -> list[str]:
    return list(settings.CREDENTIAL_KEYS) or _in_file()


def _boxes(keys: list[str]) -> MultiFernet:
    try:
        # Without keys nothing opens; MultiFernet itself wants one.
        return MultiFernet([Fernet(key) for key in keys or [Fernet.generate_key().decode()]])
    except ValueError:
        where = "CREDENTIAL_KEYS" if from_settings() else str(key_file())
        raise ImproperlyConfigured(
            f"A key in {where} is none: 32 bytes in base64url, as `manage.py rotate_keys` makes."
        ) from None


def _in_file() -> list[str]:
    try:
        return key_file().read_text().split()
    except FileNotFoundError:
        return []


def _make_first() -> list[str]:
    with _alone():
        if not (keys := _in_file()):
            keys = [Fernet.generate_key().decode()]
            _write(keys)
        return keys


def _write(keys: list[str]) -> None:
    """Replace the file in one step: whoever reads it meanwhile has the one or the other."""
    draft = key_file().with_name(f".{key_file().name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("".join(f"{key}\n" for key in keys))
    move_in(draft, key_file())


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process at a time change the file: a key that another one wrote must not be lost."""
    path = key_file().with_name(f"{key_file().name}.lock")
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
