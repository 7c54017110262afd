"""How bytes of any size get to the portal in pieces that survive a lost answer."""

from collections.abc import Callable
from typing import BinaryIO

from yardmaster.agent.held import Held
from yardmaster.client import Client, OffsetMismatch, Refused


def send_staged(
    held: Held,
    client: Client,
    path: str,
    stream: BinaryIO,
    size: int,
    chunk_bytes: int,
    sent: Callable[[int], None] = lambda length: None,
) -> None:
    """Send `size` bytes of a seekable stream to a staging path, from where the portal has them.

    Goes on from the length that the portal names, so an upload that was cut goes on where it was.
    `sent` hears how many bytes the portal has. Ends early when the stream is shorter than `size`:
    closing the upload with its hash is what finds that out.
    """
    offset = 0
    mismatches = 0
    while offset < size or size == 0:
        stream.seek(offset)
        chunk = stream.read(min(chunk_bytes, size - offset))
        if not chunk and size:
            return
        try:
            held.send(client, "PUT", path, params={"offset": offset}, content=chunk, timeout=120.0)
            offset += len(chunk)
            mismatches = 0
        except OffsetMismatch as mismatch:
            # Two in a row without a piece getting through is a portal that contradicts itself.
            mismatches += 1
            if mismatches > 2 or mismatch.length > size:
                raise Refused(
                    f"The portal has {mismatch.length} bytes of an upload of {size}, and does not"
                    " take the rest.",
                    status=416,
                    code="offset_mismatch",
                ) from None
            offset = mismatch.length
        sent(offset)
        if size == 0:
            return
