"""How what a run found goes to the portal: its records in batches, its files in pieces."""

import hashlib
import re
import uuid
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from yardmaster.agent.held import Held
from yardmaster.agent.masking import Masker
from yardmaster.agent.uploads import send_staged
from yardmaster.client import Client, Refused
from yardmaster.objects import BLOCK
from yardmaster.sdk import Failed

BATCH = 1000
# What the portal takes of each text.
LONGEST = {"record_id": 200, "name": 300, "result": 10_000, "error": 10_000}
STATUSES = {"success": "successful", "failed": "failed", "skipped": "skipped"}
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,59}")


class Records:
    """The records of one run: numbered as they come, sent by the thousand."""

    def __init__(self, held: Held, client: Client, masker: Masker) -> None:
        self._held = held
        self._client = client
        self._masker = masker
        self._waiting: list[dict[str, Any]] = []
        self._made = 0
        self._by_status: Counter[str] = Counter()

    def add(self, status: str, texts: Mapping[str, str]) -> None:
        """Add a record, and send what waits when it is many."""
        if status not in STATUSES:
            raise ValueError(f"A record is one of {', '.join(STATUSES)}, not {status!r}.")
        self._made += 1
        self._by_status[STATUSES[status]] += 1
        self._waiting.append(record_line(self._made, status, texts, self._masker))
        if len(self._waiting) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what waits; a number that the portal has already is left as it is."""
        if self._waiting:
            path = f"{self._held.path}/records"
            self._held.send(self._client, "POST", path, json={"records": self._waiting})
            self._waiting = []

    def counts(self) -> dict[str, int]:
        """Return the counts of a result, empty without a record."""
        if not self._made:
            return {}
        return {"total": self._made} | {n: self._by_status[n] for n in STATUSES.values()}


def record_line(
    sequence: int, status: str, texts: Mapping[str, str], masker: Masker
) -> dict[str, Any]:
    """Return a record as the portal takes it: without secrets, and no text longer than it may be.

    Masked before it is cut: half a secret would not be found.
    """
    line: dict[str, Any] = {"sequence": sequence, "status": status}
    for name, text in texts.items():
        if text:
            plain = masker.whole(str(text)).replace("\0", "\N{REPLACEMENT CHARACTER}")
            line[name] = plain.encode("utf-8", "replace").decode()[: LONGEST[name]]
    return line


def file_facts(source: Path | bytes, name: str, media_type: str) -> str:
    """Return the name a file is kept under, or raise ValueError for what no portal takes."""
    name = name or (source.name if isinstance(source, Path) else "")
    if not re.fullmatch(r"[^\x00-\x1f\x7f/\\]{1,255}", name):
        raise ValueError(
            f"A file needs a name of at most 255 characters without “/”, not {name!r}."
        )
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"{media_type!r} is not a media type, such as text/csv.")
    return name


def send_file(
    held: Held,
    client: Client,
    source: Path | bytes,
    *,
    name: str,
    media_type: str,
    chunk_bytes: int,
) -> None:
    """Send a file and close it with its size and hash; raises Failed when it changed meanwhile."""
    name = file_facts(source, name, media_type)
    path = f"{held.path}/files/{uuid.uuid4()}"
    with _opened(source) as stream:
        digest, size = hashlib.sha256(), 0
        while block := stream.read(BLOCK):
            held.check()
            digest.update(block)
            size += len(block)
        send_staged(held, client, path, stream, size, chunk_bytes)
    facts = {"name": name, "media_type": media_type, "size": size, "sha256": digest.hexdigest()}
    try:
        held.send(client, "POST", path, json=facts, timeout=120.0)
    except Refused as refused:
        if refused.code in {"hash_mismatch", "nothing_staged"}:
            raise Failed(f"{name} changed while it was being sent.") from None
        raise


def _opened(source: Path | bytes) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes) else source.open("rb")
