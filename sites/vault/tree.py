"""Decides how a snapshot is read: folders, files with a preview, and bytes for a download."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pygit2
from django.core.files.storage import Storage
from pygit2.enums import FileMode, ObjectType

from sites.vault.content import Pointer, read_pointer, storage_name
from sites.vault.errors import NotInVault, shown
from sites.vault.store import commit_of, open_repository, read_blob, tree_of
from sites.vault.text import MAX_TEXT_BYTES, decode, visible

_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a snapshot. `size` is the content's (None for a folder), `id` git's."""

    name: str
    path: str
    kind: str  # file, dir or link
    size: int | None
    id: str
    mode: str
    sha256: str | None = None

    @property
    def large(self) -> bool:
        """Say whether the bytes lie in file storage instead of git."""
        return self.sha256 is not None


@dataclass(frozen=True, slots=True)
class Preview:
    """A file's text as it can be shown, or why it cannot: `binary`, `large` or `too_large`."""

    text: str | None
    encoding: str | None
    refused: str | None


def entries(path: Path, commit_id: str, folder: str = "") -> list[Entry]:
    """List a folder of a snapshot, folders first, then by name."""
    repository = open_repository(path)
    tree = commit_of(repository, commit_id).tree
    if folder:
        found = _find(repository, tree, folder)
        if not isinstance(found, pygit2.Tree):
            raise NotInVault(f"{shown(folder)} is not a folder of this snapshot.")
        tree = found
    prefix = f"{folder}/" if folder else ""
    listed = [_entry(repository, one, prefix) for one in tree]
    return sorted(listed, key=lambda entry: (entry.kind != "dir", entry.name))


def walk(path: Path, commit_id: str) -> Iterator[Entry]:
    """Give every file and link of a snapshot in the order of paths, folders left out."""
    repository = open_repository(path)
    ahead = [("", iter(commit_of(repository, commit_id).tree))]
    while ahead:
        prefix, rest = ahead[-1]
        for one in rest:
            if one.type == ObjectType.TREE:
                subtree = tree_of(repository, one.id)
                ahead.append((f"{prefix}{name_of(one)}/", iter(subtree)))
                break
            yield _entry(repository, one, prefix)
        else:
            ahead.pop()


def entry(path: Path, commit_id: str, file_path: str) -> Entry:
    """Find one file or link of a snapshot."""
    repository = open_repository(path)
    return _file(repository, commit_of(repository, commit_id), file_path)


def preview(path: Path, file: Entry) -> Preview:
    """Give a file's text, safe to show; up to 2 MB, and a link's target as it is written."""
    if file.large:
        return Preview(None, None, "large")
    if (file.size or 0) > MAX_TEXT_BYTES:
        return Preview(None, None, "too_large")
    text = decode(_read(path, file))
    if text is None:
        return Preview(None, None, "binary")
    return Preview(visible(text.text.replace("\r\n", "\n")), text.encoding, None)


def stream(path: Path, storage: Storage, organization_id: UUID, file: Entry) -> Iterator[bytes]:
    """Give a file's bytes in pieces: from git up to 8 MiB, from file storage above."""
    if file.sha256 is None:
        data = _read(path, file)
        return (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
    try:
        stored = storage.open(storage_name(organization_id, file.sha256))
    except FileNotFoundError as error:
        raise NotInVault(f"The content of {shown(file.path)} is not in storage.") from error

    def pieces() -> Iterator[bytes]:
        with stored:
            yield from stored.chunks(_PIECE)

    return pieces()


def name_of(one: pygit2.Object) -> str:
    """Give an entry's name; what plain git put in as other than UTF-8 is shown with marks."""
    return one.raw_name.decode(errors="replace") if one.raw_name else ""


def pointer_of(repository: pygit2.Repository, one: pygit2.Object) -> tuple[int, Pointer | None]:
    """Give the size of an entry's content, and its pointer when it is large."""
    size = repository.odb.read_header(one.id)[1]
    pointer = None
    if one.filemode != FileMode.LINK:
        pointer = read_pointer(repository.odb, one.id, size)
    return (pointer.size if pointer else size), pointer


def _entry(repository: pygit2.Repository, one: pygit2.Object, prefix: str) -> Entry:
    name = name_of(one)
    if one.type == ObjectType.TREE:
        return Entry(name, prefix + name, "dir", None, str(one.id), "040000")
    size, pointer = pointer_of(repository, one)
    return Entry(
        name,
        prefix + name,
        "link" if one.filemode == FileMode.LINK else "file",
        size,
        str(one.id),
        f"{int(one.filemode):06o}",
        pointer.sha256 if pointer else None,
    )


def _find(repository: pygit2.Repository, tree: pygit2.Tree, path: str) -> pygit2.Object:
    found: pygit2.Object = tree
    for part in path.split("/"):
        try:
            if not isinstance(found, pygit2.Tree) or not part or "\0" in part:
                raise KeyError(part)
            found = found[part]
        except (KeyError, TypeError, ValueError):
            raise NotInVault(f"This snapshot has no {shown(path)}.") from None
    return found


def _file(repository: pygit2.Repository, commit: pygit2.Commit, path: str) -> Entry:
    found = _find(repository, commit.tree, path)
    if isinstance(found, pygit2.Tree):
        raise NotInVault(f"{shown(path)} is a folder.")
    prefix = path.rpartition("/")[0]
    return _entry(repository, found, f"{prefix}/" if prefix else "")


def _read(path: Path, file: Entry) -> bytes:
    return read_blob(open_repository(path), pygit2.Oid(hex=file.id))
