"""What of a folder is kept, left out, and reported as unreadable."""

import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from yardmaster.objects import blob_id, pointer
from yardmaster.tools import scan as scan_module
from yardmaster.tools.scan import Rules, Scan, scan_folder
from yardmaster.tools.statcache import Known

pytestmark = pytest.mark.once


def scanned(
    root: Path,
    *,
    known: Mapping[str, Known] | None = None,
    check: Callable[[], None] = lambda: None,
    private: Path = Path("/nonexistent"),
    **rules: Any,
) -> Scan:
    asked: dict[str, Any] = {"include": [], "exclude": [], "max_file_bytes": None}
    made = Rules.of(**{**asked, "object_bytes": 8_388_608, **rules}, private_folder=private)
    return scan_folder(root, made, known or {}, check)


def paths(scan: Scan) -> list[str]:
    return sorted(entry.path for entry in scan.entries)


def git_tree(folder: Path) -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "core.autocrlf=false", "-c", "safe.directory=*", *arguments]
        return subprocess.run(
            command, cwd=folder, capture_output=True, check=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    return git("write-tree")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def old(path: Path) -> None:
    """Make a file look as if it had been there for long."""
    os.utime(path, ns=(1_000_000_000, 1_000_000_000), follow_symlinks=False)


def test_the_tree_is_that_of_git(folder: Path) -> None:
    (folder / "plc" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "plc" / "main.st").write_bytes(b"PROGRAM\r\n\x00\xff")
    (folder / "plc" / "deep" / "ünïcode ☃.txt").write_text("x")
    (folder / "plc.txt").write_text("")
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    (folder / "latest").symlink_to("plc/main.st")
    (folder / "plc" / "up").symlink_to("../run.sh")
    (folder / "dangling").symlink_to("nowhere")
    scan = scanned(folder)
    assert scan.problems == []
    assert scan.left_out == []
    modes = {entry.path: entry.mode for entry in scan.entries}
    assert modes["run.sh"] == "100755"
    assert modes["latest"] == "120000"
    assert modes["plc.txt"] == "100644"
    assert scan.tree == git_tree(folder)


def test_a_link_is_recorded_and_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "real").mkdir()
    write(folder / "real", a="1")
    (folder / "link").symlink_to("real")
    assert paths(scanned(folder)) == ["link", "real/a"]


@pytest.mark.parametrize(
    ("links", "kept"),
    [
        ({"a": "/etc/passwd"}, []),
        ({"a": "../outside"}, []),
        ({"sub/a": "../../outside"}, []),
        ({"sub/a": "../x", "sub/b": "./../sub/x"}, ["sub/a", "sub/b"]),
        ({"a": "sub/../../folder/x"}, []),
        # Harmless by its letters; it leaves the tree by way of the other link.
        ({"top": ".", "sub/a": "../top/../x"}, ["top"]),
        ({"ring": "ring2", "ring2": "ring"}, ["ring", "ring2"]),
        ({"a": "C:\\Windows", "b": "..\\x"}, []),
    ],
)
def test_links_that_leave_the_folder_are_left_out(
    folder: Path, links: dict[str, str], kept: list[str]
) -> None:
    (folder / "sub").mkdir()
    for path, points_to in links.items():
        (folder / path).symlink_to(points_to)
    scan = scanned(folder)
    assert paths(scan) == kept
    assert len(scan.left_out) == len(links) - len(kept)
    assert scan.problems == []


def test_the_links_that_are_kept_are_taken_by_the_portal(folder: Path) -> None:
    # Two texts of one rule, on two sides of the wire: neither may drift.
    from sites.vault.errors import UnsafePath
    from sites.vault.paths import check_link
    from yardmaster.tools.names import leaves_tree

    targets = ["x", "../x", "../../x", "top/../x", "/x", "\\x", "a\\..\\b", "deep/../..", ".", "l1"]
    for first in targets:
        for second in targets:
            links = {"sub/l1": first, "top": second, "deep": "sub/sub", "sub/l2": "../top/.."}
            for path in links:
                try:
                    raw = {name: text.encode() for name, text in links.items()}
                    check_link(path, raw)
                    refused = False
                except UnsafePath:
                    refused = True
                assert leaves_tree(path, links) == refused, (path, links)


def test_what_is_no_file_is_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    write(folder, a="1")
    os.mkfifo(folder / "pipe")
    here = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        # By way of the descriptor: a socket's path may not be long.
        server.bind(f"/proc/self/fd/{here}/sock")
        os.close(here)
        scan = scanned(folder)
    assert paths(scan) == ["a"]
    assert sorted(scan.left_out) == ["pipe: it is a pipe", "sock: it is a socket"]


def test_gits_own_folder_and_the_agents_are_left_out(folder: Path) -> None:
    for name in (".git", ".GIT", "agent"):
        (folder / name).mkdir()
        write(folder / name, config="token")
    write(folder, gitignore="1")
    (folder / "sub").mkdir()
    (folder / "sub" / ".git").write_text("gitdir: elsewhere")
    scan = scanned(folder, private=folder / "agent")
    assert paths(scan) == ["gitignore"]
    assert len(scan.left_out) == 4


def test_large_files_are_left_out_above_the_limit(folder: Path) -> None:
    write(folder, small="x" * 10, large="x" * 11)
    scan = scanned(folder, max_file_bytes=10)
    assert paths(scan) == ["small"]
    assert scan.left_out == ["large: it has 11 bytes, more than the limit of 10"]


def test_a_remembered_file_is_still_held_against_the_limit(folder: Path) -> None:
    write(folder, large="x" * 11)
    known = scan_until_known(folder, "large")
    assert paths(scanned(folder, known=known, max_file_bytes=10)) == []


@pytest.mark.parametrize("name", [b"caf\xe9", b"line\nbreak", b"bell\x07", "c1\x85".encode()])
def test_names_that_cannot_be_kept_are_problems(folder: Path, name: bytes) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_text("x")
    scan = scanned(folder)
    [problem] = scan.problems
    assert "rename or exclude it" in problem
    assert problem.isprintable()


def test_names_that_windows_would_misread_are_problems(folder: Path) -> None:
    for name in ("..\\up", "\\absolute", ".. "):
        (folder / name).write_text("x")
    (folder / "unit\\x2dfile").write_text("x")
    scan = scanned(folder)
    assert len(scan.problems) == 3
    assert paths(scan) == ["unit\\x2dfile"]


def test_an_excluded_problem_is_none(folder: Path) -> None:
    (folder / "bell\x07").write_text("x")
    assert scanned(folder, exclude=["bell*"]).problems == []


def test_what_cannot_be_read_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, a="1", secret="2")
    real = os.open

    # Tests run as root, whom no mode keeps out.
    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(scan_module.os, "open", refuse)
    scan = scanned(folder)
    assert scan.problems == ["secret: Permission denied"]


def test_a_file_that_becomes_a_link_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    write(folder, a="1")
    real = os.open

    def swap(path: Any, *arguments: Any, **options: Any) -> int:
        if path == "a":
            (folder / "a").unlink()
            (folder / "a").symlink_to(outside)
        return real(path, *arguments, **options)

    monkeypatch.setattr(scan_module.os, "open", swap)
    scan = scanned(folder)
    assert scan.entries == []
    assert scan.problems == ["a: it became a link while the folder was read"]


def test_a_folder_on_the_way_that_became_a_link_is_not_followed(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "sub").mkdir()
    write(folder / "sub", a="1")
    scan = scanned(folder)
    outside = tmp_path / "outside"
    (folder / "sub").rename(outside)
    (folder / "sub").symlink_to(outside)
    with pytest.raises(OSError, match=r"."):
        scan.open(scan.entries[0])


class Changing:
    """Change a file while it is read, a number of times."""

    def __init__(self, path: Path, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = times
        real = scan_module._read_small

        def read(stream: Any, size: int) -> bytes:
            data = real(stream, size)
            if self.left:
                self.left -= 1
                path.write_text(path.read_text() + "more")
            return data

        monkeypatch.setattr(scan_module, "_read_small", read)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, log="start ")
    Changing(folder / "log", 2, monkeypatch)
    scan = scanned(folder)
    assert scan.problems == []
    assert scan.entries[0].id == blob_id(b"start moremore")


def test_a_file_that_never_stays_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, log="start ")
    Changing(folder / "log", 100, monkeypatch)
    scan = scanned(folder)
    assert scan.entries == []
    assert "kept changing" in scan.problems[0]


def test_a_large_file_has_the_id_of_its_pointer(folder: Path) -> None:
    import hashlib

    data = bytes(range(256)) * 5
    (folder / "big.bin").write_bytes(data)
    [entry] = scanned(folder, object_bytes=1000).entries
    sha256 = hashlib.sha256(data).hexdigest()
    assert (entry.sha256, entry.size) == (sha256, len(data))
    assert entry.id == blob_id(pointer(sha256, len(data)))


def scan_until_known(folder: Path, *names: str) -> dict[str, Known]:
    """Return what is remembered of files that are older than the scan's distrust."""
    scan = scanned(folder)
    known = {}
    for name in names:
        [entry] = [entry for entry in scan.entries if entry.path == name]
        stat = (folder / name).stat()
        known[name] = Known(
            stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, entry.id, entry.sha256
        )
    return known


def test_a_remembered_file_is_not_read_again(folder: Path) -> None:
    write(folder, a="1", b="2")
    known = scan_until_known(folder, "a", "b")
    first = scanned(folder)
    again = scanned(folder, known=known)
    assert (first.files_read, again.files_read) == (2, 0)
    assert again.tree == first.tree
    # The mode is not remembered: it is looked at each time.
    assert set(again.known) == {"a", "b"}


@pytest.mark.parametrize("change", ["touch", "same size and time", "replaced", "grown"])
def test_a_remembered_file_that_changed_is_read(folder: Path, change: str) -> None:
    path = folder / "a"
    path.write_text("1")
    old(path)
    known = scan_until_known(folder, "a")
    if change == "touch":
        os.utime(path)
    elif change == "grown":
        path.write_text("12")
    elif change == "replaced":
        (folder / "b").write_text("2")
        old(folder / "b")
        (folder / "b").rename(path)
    else:
        path.write_text("2")
        # The time can be set back; when it was set cannot.
        old(path)
    scan = scanned(folder, known=known)
    assert scan.files_read == 1
    assert scan.entries[0].id == blob_id(path.read_bytes())


def test_what_was_written_just_now_is_not_remembered(folder: Path) -> None:
    write(folder, a="1")
    assert scanned(folder).known == {}


def test_a_long_scan_can_be_stopped(folder: Path) -> None:
    for number in range(500):
        (folder / str(number)).touch()

    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    with pytest.raises(Enough):
        scanned(folder, check=check)
