"""Decides how tasks are handed over where there is no Redis: as files, each there whole or not."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Kombu's, whose own writes a file that is there already: who takes it meanwhile, fails."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Put a message where it is looked for, once all of it is written."""
        message = Path(self.data_folder_out) / f"{monotonic() * 1000:.0f}_{uuid4()}.{queue}.msg"
        part = message.with_suffix(".part")
        try:
            part.write_text(dumps(payload))
            part.replace(message)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ChannelError(f"{message} cannot be written: {error}") from error


class Transport(filesystem.Transport):
    """What `filesystem://` means here."""

    Channel = Channel


def install() -> None:
    """Have every connection of this process use it."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:{Transport.__name__}"
