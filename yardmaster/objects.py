"""How git names the bytes and trees of a snapshot, and what stands in for a large file."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

FILE = "100644"
EXECUTABLE = "100755"
LINK = "120000"
BLOCK = 1024 * 1024
# What git sorts by, and the entry's line in its tree.
_Lines = list[tuple[bytes, bytes]]


class Entry(NamedTuple):
    """One file or link of a snapshot.

    `id` is the git id of its blob. `sha256` is set for a large file alone, whose `id` is that of
    its pointer blob, while `size` is that of its content.
    """

    path: str
    mode: str
    size: int
    id: str
    sha256: str | None = None


def blob_id(data: bytes) -> str:
    """Return the git object id of a blob with these bytes."""
    digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """Return the blob that stands in git for a large file."""
    return f"yardmaster large file v1\nsha256 {sha256}\nsize {size}\n".encode()


def hash_stream(read: Callable[[int], bytes]) -> tuple[str, int]:
    """Return the SHA-256 and the number of all bytes that `read` gives, block by block."""
    digest = hashlib.sha256()
    size = 0
    while block := read(BLOCK):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def tree_id(entries: Iterable[Entry]) -> str:
    """Return the git tree id of the entries, whatever their order.

    Folders exist through their files, as in git: an empty folder cannot be said.
    """
    folders: dict[str, _Lines] = {"": []}
    for path, mode, _, object_id, _ in entries:
        folder, _, name = path.rpartition("/")
        raw = name.encode()
        line = f"{mode} ".encode() + raw + b"\0" + bytes.fromhex(object_id)
        _lines_of(folders, folder).append((raw, line))
    # A folder's own id needs those of the folders in it, so the deepest come first.
    below = sorted(filter(None, folders), key=lambda folder: folder.count("/"), reverse=True)
    for path in below:
        folder, _, name = path.rpartition("/")
        raw = name.encode()
        line = b"40000 " + raw + b"\0" + bytes.fromhex(_hash_tree(folders[path]))
        # Git sorts a folder as if its name ended with a slash.
        folders[folder].append((raw + b"/", line))
    return _hash_tree(folders[""])


def _lines_of(folders: dict[str, _Lines], folder: str) -> _Lines:
    """Return a folder's lines, and see that it and those above it are there."""
    lines = folders.get(folder)
    if lines is None:
        lines = folders[folder] = []
        _lines_of(folders, folder.rpartition("/")[0])
    return lines


def _hash_tree(lines: _Lines) -> str:
    lines.sort()
    body = b"".join([line for _, line in lines])
    digest = hashlib.sha1(b"tree %d\0" % len(body), usedforsecurity=False)
    digest.update(body)
    return digest.hexdigest()


def by_id(entries: Iterable[Entry]) -> Mapping[str, Entry]:
    """Return one entry for each object id."""
    return {entry.id: entry for entry in entries}
