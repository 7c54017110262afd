"""Which names and links a snapshot may hold (protocol rule 28)."""

from uuid import uuid4

import pytest

from sites import vault
from tests.sites.sender import Link, line

pytestmark = pytest.mark.once

KEY = "1-1"

UNSAFE = [
    "",
    "/etc/passwd",
    "\\etc\\passwd",
    "C:/Windows",
    "c:\\Windows",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "a/.. /b",
    ".",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "..\\a",
    "a\\..\\..\\b",
    ".git",
    ".git/config",
    "a/.GIT/hooks/x",
    ".gIt",
    "a\\.git\\config",
    ".git ",
    ".git.",
    ".git. . ",
    ".git::$INDEX_ALLOCATION",
    ".git:stream",
    "git~1",
    "GIT~1/config",
    ".g\u200cit",
    "\ufeff.git",
    ".gi\u202et/config",
    "a\0b",
    "a\nb",
    "a\tb",
    "a\x1b[31mb",
    "a\x7f",
    "a\x85b",
    "\ud800",
    "x" * 256,
    "ü" * 128,
    "/".join(["x" * 200] * 21),
]

SAFE = [
    "a",
    "...",
    "..a",
    "a..",
    ".gitignore",
    ".gitmodules",
    "git",
    "git~2",
    ".github/x",
    "my.git/x",
    "a:b",
    " a ",
    "dev-disk-by\\x2duuid.swap",
    "größe/日本.txt",
    "family \U0001f468\u200d\U0001f469.png",
    "x" * 255,
    "a" + "/a" * 2047,
    "CON",
    "-rf",
    "'\"<script>&",
]


@pytest.mark.parametrize("path", UNSAFE, ids=lambda path: ascii(path)[:40])
def test_an_unsafe_path_is_refused_and_nothing_is_written(device, path):
    vault.begin(device.target, KEY)
    with pytest.raises(vault.UnsafePath) as refused:
        vault.take_manifest(device.target, KEY, [line("fine"), line(path)])
    assert refused.value.code == "unsafe_path"
    # The message can be put into any answer.
    assert str(refused.value).isascii()
    with pytest.raises(vault.NoManifest):
        device.seal(KEY)


@pytest.mark.parametrize("path", SAFE, ids=lambda path: ascii(path)[:40])
def test_an_odd_but_harmless_path_is_kept(device, path):
    device.files = {path: b"content", "other": b"x"}
    sealed = device.back_up()
    device.fsck()
    assert path in {entry.path for entry in vault.walk(device.target, sealed.commit_id)}
    entry = vault.entry(device.target, sealed.commit_id, path)
    assert b"".join(vault.stream(device.target, entry, organization_id=uuid4())) == b"content"


@pytest.mark.parametrize(
    ("files", "bad"),
    [
        ({"l": "/etc/passwd"}, "l"),
        ({"l": "\\\\server\\share"}, "l"),
        ({"l": "C:\\Windows"}, "l"),
        ({"l": ".."}, "l"),
        ({"l": "../x"}, "l"),
        ({"a/l": "../../x"}, "a/l"),
        ({"a/l": "b/../../../x"}, "a/l"),
        ({"a/l": "..\\..\\x"}, "a/l"),
        ({"l": ""}, "l"),
        ({"l": "a\0b"}, "l"),
        ({"l": "a\x1b[2Jb"}, "l"),
        # Each alone looks harmless: together they climb.
        ({"a/up": "..", "l": "a/up/../x"}, "l"),
        ({"a/b/up": "../..", "c/l": "../a/b/up/.."}, "c/l"),
        ({"one": "two", "two": "a/b", "a/b": "..", "l": "one/../x"}, "l"),
    ],
)
def test_a_link_that_leaves_the_tree_is_refused(device, files, bad):
    device.files = {"plain": b"x", **{path: Link(target) for path, target in files.items()}}
    device.send(KEY)
    with pytest.raises(vault.UnsafePath) as refused:
        device.seal(KEY)
    assert refused.value.path == bad
    assert vault.refs(device.target) == {}


@pytest.mark.parametrize(
    "files",
    [
        {"l": "plain"},
        {"l": "."},
        {"a/l": ".."},
        {"a/l": "../plain"},
        {"a/b/l": "../../plain"},
        {"l": "not/there"},
        {"l": "l"},
        {"l": "m", "m": "l/../l"},
        {"l": "a//./b/../plain/"},
        {"l": "name\\x2dwith-backslash"},
    ],
)
def test_a_link_that_stays_inside_is_recorded_and_never_followed(device, files):
    device.files = {"plain": b"x", **{path: Link(target) for path, target in files.items()}}
    sealed = device.back_up()
    device.fsck()
    for path, target in files.items():
        entry = vault.entry(device.target, sealed.commit_id, path)
        assert (entry.kind, entry.mode) == ("link", "120000")
        assert vault.preview(device.target, entry).text == target


def test_a_key_cannot_name_a_folder_elsewhere(device):
    for key in ("../x", "a/b", "", ".", "A B", "x" * 200):
        with pytest.raises(ValueError, match="cannot name"):
            vault.begin(device.target, key)
