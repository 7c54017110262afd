"""Object ids are those of real git."""

import subprocess
from pathlib import Path

import pytest

from yardmaster.objects import Entry, blob_id, pointer, tree_id

pytestmark = pytest.mark.once


def git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], input=data, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize("data", [b"", b"x", b"line\n" * 1000, bytes(range(256))])
def test_blob_ids(tmp_path: Path, data: bytes) -> None:
    assert blob_id(data) == git(tmp_path, "hash-object", "--stdin", data=data)


def test_no_entries_make_gits_empty_tree() -> None:
    assert tree_id([]) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_tree_ids_sort_as_git_does(tmp_path: Path) -> None:
    # "a" the folder sorts as "a/", that is after "a-b" and "a.txt" and before "a0".
    paths = ["a/x", "a-b", "a.txt", "a0", "b/c/d/e", "b/c.d", "ü/ß", "Z", "b/c/d0"]
    git(tmp_path, "init", "-q")
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    git(tmp_path, "add", "-A")
    entries = [Entry(p, "100644", len(p.encode()), blob_id(p.encode())) for p in paths]
    expected = git(tmp_path, "write-tree")
    assert tree_id(entries) == tree_id(reversed(entries)) == expected


def test_the_pointer_is_what_the_protocol_says() -> None:
    assert pointer("ab" * 32, 12345) == (
        b"yardmaster large file v1\nsha256 " + b"ab" * 32 + b"\nsize 12345\n"
    )
