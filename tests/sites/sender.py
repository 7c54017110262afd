"""What an agent sends for a folder, computed by plain git, for the tests of the vault."""

import hashlib
import io
import json
import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from sites import vault
from sites.vault.content import Pointer

WHEN = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
GIT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@t.invalid",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@t.invalid",
}


def git(*words: str | Path, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    """Run the real git and give what it prints; its complaints fail the test."""
    done = subprocess.run(["git", *words], cwd=cwd, env=GIT, input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class Program:
    data: bytes


@dataclass(frozen=True)
class Large:
    data: bytes

    @property
    def pointer(self) -> Pointer:
        return Pointer(hashlib.sha256(self.data).hexdigest(), len(self.data))


Content = bytes | Link | Program | Large


def in_git(content: Content) -> tuple[str, bytes]:
    """Give the mode and the bytes that git is to hold."""
    match content:
        case Link(target):
            return "120000", target.encode()
        case Program(data):
            return "100755", data
        case Large():
            return "100644", content.pointer.blob()
        case _:
            return "100644", content


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def line(path: str, content: Content = b"x", **other: object) -> bytes:
    """Write one line of a manifest; `other` replaces or adds keys."""
    mode, data = in_git(content)
    entry: dict[str, object] = {
        "path": path,
        "mode": mode,
        "size": len(content.data) if isinstance(content, Large) else len(data),
        "id": blob_id(data),
    }
    if isinstance(content, Large):
        entry["sha256"] = content.pointer.sha256
    return json.dumps(entry | other).encode() + b"\n"


def frame(data: bytes, object_id: str | None = None) -> bytes:
    return bytes.fromhex(object_id or blob_id(data)) + len(data).to_bytes(4, "big") + data


def tree_by_git(folder: Path, files: dict[str, Content]) -> str:
    """Give the tree id that the real git computes."""
    repository = folder / f"by-git-{uuid4()}"
    git("init", "-q", repository)
    index = []
    for path, content in files.items():
        mode, data = in_git(content)
        index.append(f"{mode} {blob_id(data)}\t{path}\0".encode())
        place = repository / ".git" / "objects" / blob_id(data)[:2] / blob_id(data)[2:]
        if not place.exists() and len(files) < 1000:
            git("hash-object", "-w", "--stdin", cwd=repository, stdin=data)
    git("update-index", "-z", "--index-info", cwd=repository, stdin=b"".join(index))
    return git("write-tree", "--missing-ok", cwd=repository).decode().strip()


@dataclass
class Device:
    """A target with an agent: sends the files that it has at the moment."""

    folder: Path
    target: UUID = field(default_factory=uuid4)
    organization: UUID = field(default_factory=uuid4)
    files: dict[str, Content] = field(default_factory=dict)

    def tree(self) -> str:
        return tree_by_git(self.folder, self.files)

    def send(self, key: str) -> vault.Missing:
        """Send all that is asked for, short of the seal; give what was asked for."""
        vault.begin(self.target, key)
        missing = vault.take_manifest(
            self.target, key, [line(path, content) for path, content in self.files.items()]
        )
        wanted = {blob_id(in_git(content)[1]): content for content in self.files.values()}
        body = b"".join(frame(in_git(wanted[one])[1]) for one in missing.objects)
        vault.take_objects(self.target, key, io.BytesIO(body), limit=2**30)
        for content in self.files.values():
            if isinstance(content, Large) and content.pointer.sha256 in missing.content:
                self.upload(key, content)
        return missing

    def upload(self, key: str, content: Large) -> bool:
        sha256 = content.pointer.sha256
        for start in range(0, len(content.data), 8 * 2**20):
            vault.append_content(
                self.target,
                key,
                sha256,
                start,
                io.BytesIO(content.data[start : start + 8 * 2**20]),
                limit=8 * 2**20,
                max_size=2**30,
            )
        return vault.close_content(
            self.target, key, sha256, size=len(content.data), organization_id=self.organization
        )

    def seal(self, key: str, tree: str | None = None, snapshot: UUID | None = None) -> vault.Sealed:
        return vault.seal(
            self.target,
            key,
            tree or self.tree(),
            organization_id=self.organization,
            snapshot_id=snapshot or uuid4(),
            message="Backup of Press line 1",
            when=WHEN,
        )

    def back_up(self, snapshot: UUID | None = None) -> vault.Sealed:
        key = f"{uuid4()}-1"
        self.send(key)
        return self.seal(key, snapshot=snapshot)

    @property
    def repository(self) -> Path:
        from django.conf import settings

        return Path(settings.VAULT_ROOT) / self.target.hex[:2] / f"{self.target}.git"

    def fsck(self) -> None:
        """Let the real git check every object and ref."""
        git("--git-dir", self.repository, "fsck", "--full", "--strict", "--no-dangling")

    def git(self, *words: str) -> str:
        return git("--git-dir", self.repository, *words).decode()
