"""When and in which pieces a run's log goes to the portal."""

import logging
import threading
from collections.abc import Callable

from yardmaster.agent.masking import Masker
from yardmaster.client import Client, OffsetMismatch, PortalError, RunGone, TryAgain, Unauthorized

log = logging.getLogger("yardmaster")

PIECE_BYTES = 256 * 1024
# What waits while the portal is away; beyond it, lines are dropped and counted.
WAITING_BYTES = 8 * 1024 * 1024
FLUSH_EVERY_S = 1.0


class LogStream:
    """One run's log: lines go in from its worker, pieces go out from a thread of its own.

    Nothing that happens to the log fails the run. `path` is the attempt's prefix.
    """

    def __init__(self, client: Client, path: str, masker: Masker, piece_bytes: int) -> None:
        self._client = client
        self._path = f"{path}/log"
        self._masker = masker
        self._piece_bytes = max(1024, min(piece_bytes, PIECE_BYTES))
        self._offset = 0
        self._waiting = bytearray()
        self._dropped = 0
        self._broken = False
        self._changed = threading.Condition()
        self._closing = False
        self._give_up: Callable[[], bool] = lambda: False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Add text; it need not end with a line."""
        with self._changed:
            # The database that keeps the log cannot hold NUL, and UTF-8 no lone surrogate.
            clean = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
            self._append(self._masker.feed(clean))
            if len(self._waiting) >= self._piece_bytes:
                self._changed.notify_all()

    def close(self, give_up: Callable[[], bool], patience_s: float) -> None:
        """Send the rest, for `patience_s` at most and only until `give_up()`."""
        with self._changed:
            self._append(self._masker.finish())
            self._give_up = give_up
            self._closing = True
            self._changed.notify_all()
        self._thread.join(patience_s)
        with self._changed:
            self._broken = True
            self._changed.notify_all()

    def _append(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        if self._broken or not data:
            return
        if len(self._waiting) + len(data) > WAITING_BYTES:
            self._dropped += len(data)
            return
        if self._dropped:
            self._waiting += f"[{self._dropped} bytes of log were dropped here]\n".encode()
            self._dropped = 0
        self._waiting += data

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._closing and len(self._waiting) < self._piece_bytes:
                    self._changed.wait(FLUSH_EVERY_S)
                if self._broken or (self._closing and not self._waiting):
                    return
                piece = cut_piece(self._waiting, self._piece_bytes)
            if piece:
                self._send(piece)

    def _send(self, piece: bytes) -> None:
        offset = self._offset
        try:
            self._client.send_until(
                lambda: self._broken or self._give_up(),
                self._sleep,
                "POST",
                self._path,
                json={"offset": offset, "text": piece.decode()},
            )
        except OffsetMismatch as mismatch:
            self._go_on_from(mismatch.length)
        except (RunGone, Unauthorized, TryAgain):
            self._stop()
        except PortalError as error:
            log.warning("The portal refused a piece of log: %s", error)
            self._stop()
        else:
            self._sent(len(piece))

    def _sent(self, length: int) -> None:
        with self._changed:
            self._offset += length
            del self._waiting[:length]

    def _go_on_from(self, length: int) -> None:
        with self._changed:
            known = length - self._offset
            if known == 0:
                # Asked to go on from where this went on from: asking again would never end.
                self._broken = True
            if 0 < known <= len(self._waiting):
                # The answer to an earlier, longer piece was lost: the portal has these bytes.
                del self._waiting[:known]
            self._offset = length

    def _stop(self) -> None:
        with self._changed:
            self._broken = True
            self._waiting.clear()

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._broken or self._give_up(), seconds)


def cut_piece(data: bytes | bytearray, limit: int) -> bytes:
    """Return the longest beginning of at most `limit` bytes that ends between two characters."""
    end = min(limit, len(data))
    # A byte 0b10xxxxxx continues a character.
    while 0 < end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return bytes(data[:end])
