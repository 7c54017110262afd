"""In which order a snapshot's tree, list, objects and large files go to the portal."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from yardmaster.agent.held import Held
from yardmaster.agent.uploads import send_staged
from yardmaster.client import Client, Refused
from yardmaster.objects import Entry, blob_id, by_id, pointer
from yardmaster.sdk import SnapshotAnswer, Source, SourceChanged

# What one request may hold; the protocol says 16 MiB with the frames' own heads.
BATCH_BYTES = 16 * 1024 * 1024
HEAD_BYTES = 24
# Listing and sealing a large tree takes the portal longer than an ordinary request.
SLOW_S = 300.0


def send_snapshot(
    held: Held,
    client: Client,
    source: Source,
    *,
    chunk_bytes: int,
    enter: Callable[[str], None],
) -> SnapshotAnswer:
    """Send what the portal lacks of the source's files, seal, and return the portal's verdict.

    An unchanged tree costs one request. `enter` is called with the run's next status. Raises
    SourceChanged when a file no longer is what its entry says.
    """
    base = f"{held.path}/snapshot"
    begun = held.send(client, "POST", base, json={"tree": source.tree}).body
    if begun.get("verdict") == "up_to_date":
        return SnapshotAnswer("up_to_date", {})
    enter("validating")
    manifest = b"".join(_lines(source.entries))
    lacking = held.send(
        client,
        "POST",
        f"{base}/manifest",
        content=manifest,
        content_type="application/x-ndjson",
        timeout=SLOW_S,
    ).body
    enter("uploading")
    missing = _entries_of(lacking.get("missing", ()), by_id(source.entries), "object")
    large = _entries_of(
        lacking.get("missing_content", ()),
        {entry.sha256: entry for entry in source.entries if entry.sha256},
        "content",
    )
    meter = _Meter(held, sum(_blob_size(e) for e in missing) + sum(e.size for e in large))
    for batch in _batches(held, source, missing):
        held.send(client, "POST", f"{base}/objects", content=batch, timeout=120.0)
        meter.add(len(batch))
    for entry in large:
        _send_content(held, client, base, source, entry, chunk_bytes, meter)
    sealed = held.send(
        client, "POST", f"{base}/seal", json={"tree": source.tree}, timeout=SLOW_S
    ).body
    return SnapshotAnswer(str(sealed.get("verdict", "")), dict(sealed.get("counts") or {}))


def _lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    for entry in entries:
        line: dict[str, str | int] = {
            "path": entry.path,
            "mode": entry.mode,
            "size": entry.size,
            "id": entry.id,
        }
        if entry.sha256:
            line["sha256"] = entry.sha256
        yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _entries_of(
    wanted: Iterable[str], known: Mapping[str, Entry] | Mapping[str | None, Entry], kind: str
) -> list[Entry]:
    found = []
    for name in wanted:
        entry = known.get(name)
        if entry is None:
            raise Refused(f"The portal asks for {kind} {name}, which this snapshot does not hold.")
        found.append(entry)
    return found


def _blob_size(entry: Entry) -> int:
    return len(pointer(entry.sha256, entry.size)) if entry.sha256 else entry.size


def _blob(source: Source, entry: Entry) -> bytes:
    """Return the bytes of an entry's blob, and see that they are those that were listed."""
    if entry.sha256:
        return pointer(entry.sha256, entry.size)
    try:
        with source.open(entry) as stream:
            data = stream.read(entry.size + 1)
    except OSError:
        raise SourceChanged(entry.path) from None
    if blob_id(data) != entry.id:
        raise SourceChanged(entry.path)
    return data


def _batches(held: Held, source: Source, entries: Iterable[Entry]) -> Iterator[bytes]:
    batch = bytearray()
    for entry in entries:
        held.check()
        if batch and len(batch) + HEAD_BYTES + _blob_size(entry) > BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
        data = _blob(source, entry)
        batch += bytes.fromhex(entry.id) + len(data).to_bytes(4, "big") + data
    if batch:
        yield bytes(batch)


def _send_content(
    held: Held,
    client: Client,
    base: str,
    source: Source,
    entry: Entry,
    chunk_bytes: int,
    meter: "_Meter",
) -> None:
    path = f"{base}/content/{entry.sha256}"
    before = meter.done
    try:
        with source.open(entry) as stream:
            send_staged(
                held, client, path, stream, entry.size, chunk_bytes, lambda n: meter.at(before + n)
            )
        held.send(client, "POST", path, json={"size": entry.size}, timeout=SLOW_S)
    except OSError:
        raise SourceChanged(entry.path) from None
    except Refused as refused:
        if refused.code == "hash_mismatch":
            raise SourceChanged(entry.path) from None
        raise


class _Meter:
    """Turns bytes that were sent into the run's progress, from 20 to 95."""

    def __init__(self, held: Held, total: int) -> None:
        self._held = held
        self._total = max(1, total)
        self.done = 0
        held.advance(20)

    def add(self, length: int) -> None:
        self.at(self.done + length)

    def at(self, done: int) -> None:
        self.done = done
        self._held.advance(20 + min(75, 75 * done // self._total))
