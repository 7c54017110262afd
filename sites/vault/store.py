"""Decides where a target's repository lies, how it comes into being, and who may change it when.

Layout below the vault's folder:

    <aa>/<target>.git                 one bare repository per target, `aa` its first two digits
    quarantine/<target>.<key>/        what a snapshot on its way has sent (see quarantine.py)
    locks/<organization>.content      held while large content is counted (see content.py)

Every repository can be read with plain git. Snapshots are parentless commits under
`refs/snapshots/<snapshot>`; no other ref counts as a reason to keep an object.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, RepositoryOpenFlag

from sites.durable import fsync_file, fsync_folder, make_folder, move_in
from sites.vault.errors import NotInVault

REFS = "refs/snapshots/"

_OBJECT_ID = re.compile(r"[0-9a-f]{40}")

# The vault is the portal's own. Neither the machine's git settings nor the question which account
# wrote a shared volume may change how it is read.
for _level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
    pygit2.settings.search_path[_level] = ""
pygit2.settings.owner_validation = False

_CONFIG = """\
[core]
	bare = true
	repositoryformatversion = 0
	filemode = true
[pack]
	windowMemory = 64m
[gc]
	auto = 0
"""


def repository_path(root: Path, target_id: UUID) -> Path:
    """Give the place of a target's repository, whether or not it exists."""
    return root / target_id.hex[:2] / f"{target_id}.git"


def ensure_repository(path: Path) -> None:
    """Make the bare repository when it is not there.

    It is made beside its place and renamed in, so no one ever sees half of one; of two that race,
    one wins and the other finds it made.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    draft = path.parent / f".new-{secrets.token_hex(8)}"
    try:
        pygit2.init_repository(draft, bare=True)
        shutil.rmtree(draft / "hooks", ignore_errors=True)
        (draft / "config").write_text(_CONFIG)
        (draft / REFS).mkdir()
        (draft / "lock").touch()
        for folder, _, names in os.walk(draft):
            for name in names:
                fsync_file(Path(folder, name))
            fsync_folder(Path(folder))
        try:
            os.rename(draft, path)
        except OSError:
            if not path.is_dir():
                raise
        fsync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def open_repository(path: Path) -> pygit2.Repository:
    """Open the repository at exactly this place; raise NotInVault when there is none."""
    try:
        return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
    except pygit2.GitError as error:
        raise NotInVault("This target has no stored snapshots.") from error


def open_objects(path: Path) -> pygit2.Odb:
    """Open a repository's own objects, without those of any quarantine."""
    return pygit2.Odb(str(path / "objects"))


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file at `path`; it is released by the system when its holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def repository_lock(path: Path) -> Path:
    """Name the file whose lock lets one process at a time add or remove packs and refs."""
    return path / "lock"


def commit_of(repository: pygit2.Repository, commit_id: str) -> pygit2.Commit:
    """Find a snapshot's commit; raise NotInVault when it is malformed, gone, or no commit."""
    found: object = None
    if _OBJECT_ID.fullmatch(commit_id):
        found = repository.get(pygit2.Oid(hex=commit_id))
    if not isinstance(found, pygit2.Commit):
        raise NotInVault(f"The vault holds no commit {commit_id[:40]!a} of this target.")
    return found


def tree_of(repository: pygit2.Repository, tree_id: pygit2.Oid) -> pygit2.Tree:
    """Read a tree that another object names."""
    found: object = repository[tree_id]
    if not isinstance(found, pygit2.Tree):
        raise NotInVault(f"Object {tree_id} of this target is not a tree.")
    return found


def read_blob(repository: pygit2.Repository, blob_id: pygit2.Oid) -> bytes:
    """Read a blob's bytes; at most 8 MiB, as nothing larger enters git."""
    return repository[blob_id].read_raw()


def write_ref(path: Path, snapshot_id: UUID, commit_id: pygit2.Oid) -> None:
    """Name a commit as a snapshot's, durably; the caller holds the repository's lock.

    git's own way leaves a lock file when it is killed half-way, which then blocks the ref for
    ever. A file that is renamed in has no such moment.
    """
    draft = path / f"ref-{snapshot_id}"
    draft.write_text(f"{commit_id}\n")
    move_in(draft, path / REFS / str(snapshot_id))


def delete_ref(path: Path, snapshot_id: UUID) -> None:
    """Forget a snapshot's name; the caller holds the repository's lock."""
    (path / REFS / str(snapshot_id)).unlink(missing_ok=True)
    repository = open_repository(path)
    if f"{REFS}{snapshot_id}" in repository.references:
        # Someone ran git pack-refs here: then it stands in a file with others.
        repository.references.delete(f"{REFS}{snapshot_id}")


def blob_size(objects: pygit2.Odb, object_id: pygit2.Oid) -> int | None:
    """Give a blob's size from its header alone; None when there is no such blob."""
    try:
        kind, size = objects.read_header(object_id)
    except (KeyError, pygit2.GitError):
        return None
    return size if kind == ObjectType.BLOB else None
