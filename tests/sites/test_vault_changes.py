"""What the vault says differs between two snapshots, and how it is read."""

import random
from uuid import uuid4

import pytest

from sites import vault
from tests.sites.sender import Large, Link, Program

pytestmark = pytest.mark.once

TEXT = b"".join(b"line %d of the program\n" % n for n in range(40))


def changes_of(device, before, after, **options):
    device.files = before
    old = device.back_up().commit_id
    device.files = after
    new = device.back_up().commit_id
    return vault.compare(device.target, old, new, **options)


def told(changes):
    return [
        (one.status, one.old_path, one.new_path, one.added_lines, one.removed_lines)
        for one in changes.files
    ]


def test_an_edit_an_addition_a_rename_and_a_removal_are_told_apart(device):
    changes = changes_of(
        device,
        {
            "edited": TEXT,
            "old/name.scl": TEXT + b"x\n",
            "gone": b"one\ntwo\n",
            "same": b"s",
            "d/same": b"",
        },
        {
            "edited": TEXT.replace(b"line 7 ", b"line seven ") + b"more\n",
            "new/name.scl": TEXT + b"x\n",
            "fresh": b"1\n2\n3\n",
            "same": b"s",
            "d/same": b"",
        },
    )
    assert told(changes) == [
        ("modified", "edited", "edited", 2, 1),
        ("added", None, "fresh", 3, 0),
        ("removed", "gone", None, 0, 2),
        ("renamed", "old/name.scl", "new/name.scl", 0, 0),
    ]
    assert changes.counts == vault.Counts(added=1, modified=1, removed=1, renamed=1)
    assert changes.counts.total == 4
    assert (changes.added_lines, changes.removed_lines) == (5, 3)
    assert [one.edited for one in changes.files] == [True, True, True, False]


def test_a_rename_with_an_edit_says_both(device):
    changes = changes_of(
        device, {"a/one.txt": TEXT}, {"b/two.txt": TEXT.replace(b"line 3 ", b"LINE 3 ")}
    )
    assert told(changes) == [("renamed", "a/one.txt", "b/two.txt", 1, 1)]
    assert changes.files[0].edited


def test_half_alike_is_a_rename_and_less_is_not(device):
    def text(*words):
        return b"".join(b"%s number %02d\n" % (word, n) for word in words for n in range(25))

    assert [
        one.status
        for one in changes_of(
            device, {"a": text(b"same", b"left")}, {"b": text(b"same", b"come")}
        ).files
    ] == ["renamed"]
    assert [
        one.status
        for one in changes_of(
            device,
            {"a": text(b"same", b"left", b"gone")},
            {"b": text(b"same", b"come", b"here")},
        ).files
    ] == ["removed", "added"]


def test_the_most_alike_and_the_same_name_win(device):
    changes = changes_of(
        device,
        {"x/main.py": TEXT, "x/copy.py": TEXT, "y/near.py": TEXT + b"1\n2\n3\n4\n5\n"},
        {"z/copy.py": TEXT, "z/main.py": TEXT, "z/far.py": TEXT + b"1\n2\n3\n4\n"},
    )
    assert {(one.old_path, one.new_path) for one in changes.files} == {
        ("x/main.py", "z/main.py"),
        ("x/copy.py", "z/copy.py"),
        ("y/near.py", "z/far.py"),
    }


def test_empty_files_are_no_rename_of_each_other(device):
    changes = changes_of(device, {"a": b"", "d/__init__.py": b""}, {"b": b"", "e/__init__.py": b""})
    assert [(one.status, one.path) for one in changes.files] == [
        ("removed", "a"),
        ("added", "b"),
        ("renamed", "e/__init__.py"),
    ]


def test_mode_link_and_folder_changes(device):
    changes = changes_of(
        device,
        {"run": b"x\n", "was": b"target", "f": b"1\n", "d/x": b"2\n", "l": Link("run")},
        {
            "run": Program(b"x\n"),
            "was": Link("target"),
            "f/y": b"3\n",
            "d": b"4\n",
            "l": Link("was"),
        },
    )
    assert told(changes) == [
        ("added", None, "d", 1, 0),
        ("removed", "d/x", None, 0, 1),
        ("removed", "f", None, 0, 1),
        ("added", None, "f/y", 1, 0),
        ("modified", "l", "l", 1, 1),
        ("mode", "run", "run", 0, 0),
        ("modified", "was", "was", 0, 0),
    ]
    assert changes.files[5].old_mode == "100644"
    assert changes.files[5].new_mode == "100755"
    assert changes.counts.modified == 3


def test_binary_and_large_files_have_sizes_and_no_lines(device):
    big, bigger = Large(b"\0" * (8 * 2**20 + 1)), Large(b"\0" * (8 * 2**20 + 2))
    changes = changes_of(
        device,
        {"bin": b"\0\1\2", "film": big, "moved": bigger},
        {"bin": b"\0\1\2\3", "film": bigger},
    )
    by_path = {one.path: one for one in changes.files}
    assert by_path["bin"].binary
    assert (by_path["bin"].old_size, by_path["bin"].new_size) == (3, 4)
    assert by_path["film"].large
    assert by_path["film"].binary
    assert (by_path["film"].old_size, by_path["film"].new_size) == (2**23 + 1, 2**23 + 2)
    assert all(one.added_lines is None for one in changes.files)


def test_nothing_stands_for_an_empty_snapshot_on_either_side(device):
    device.files = {"a": b"1\n", "b/c": b"2\n"}
    commit = device.back_up().commit_id
    assert vault.compare(device.target, None, commit).counts == vault.Counts(added=2)
    assert vault.compare(device.target, commit, None).counts == vault.Counts(removed=2)
    assert vault.compare(device.target, commit, commit).files == []
    assert vault.compare(device.target, None, None).files == []


def test_ten_thousand_changed_files_are_compared_within_bounds(device):
    """No pair is looked into where everything moved and changed; equal bytes are still found."""
    numbers = random.Random(4)
    texts = {
        f"d{n % 100}/f{n}.txt": b"".join(
            b"%d\n" % numbers.random().hex().__hash__() for _ in range(5)
        )
        for n in range(10_000)
    }
    device.files = dict(texts)
    old = device.back_up().commit_id
    device.files = {
        f"moved/{path}": (text if n % 2 else text + b"and one line\n")
        for n, (path, text) in enumerate(texts.items())
    }
    new = device.back_up().commit_id
    device.fsck()
    changes = vault.compare(device.target, old, new)
    assert changes.counts == vault.Counts(renamed=10_000)
    assert changes.added_lines == 5_000
    assert vault.compare(device.target, old, new, count_lines=False).counts == changes.counts
    assert sum(1 for _ in vault.walk(device.target, new)) == 10_000


def test_what_is_not_in_the_vault_is_said_to_be_gone(device):
    device.files = {"a": b"1", "d/b": b"2"}
    commit = device.back_up().commit_id
    for path in ("b", "a/x", "d/", "/a", "d//b", "", "a\0b", "\ud800", "x" * 10_000, "d"):
        with pytest.raises(vault.NotInVault) as refused:
            vault.entry(device.target, commit, path)
        assert refused.value.code == "not_found"
    for gone in ("0" * 40, "zz", commit[:10], "", commit.upper(), "HEAD", device.tree()):
        with pytest.raises(vault.NotInVault):
            vault.entries(device.target, gone)
    with pytest.raises(vault.NotInVault):
        vault.entries(device.target, commit, "a")
    with pytest.raises(vault.NotInVault):
        vault.entries(uuid4(), commit)


def test_folders_are_listed_first_with_sizes_of_content(device):
    device.files = {
        "z/y/x": b"1",
        "b": Program(b"22"),
        "a": Link("b"),
        "c.bin": Large(b"0" * 9 * 2**20),
    }
    commit = device.back_up().commit_id
    assert [(e.name, e.kind, e.size, e.mode) for e in vault.entries(device.target, commit)] == [
        ("z", "dir", None, "040000"),
        ("a", "link", 1, "120000"),
        ("b", "file", 2, "100755"),
        ("c.bin", "file", 9 * 2**20, "100644"),
    ]
    assert [(e.name, e.path) for e in vault.entries(device.target, commit, "z/y")] == [
        ("x", "z/y/x")
    ]
    assert [e.path for e in vault.walk(device.target, commit)] == ["a", "b", "c.bin", "z/y/x"]


@pytest.mark.parametrize(
    ("data", "text", "encoding", "refused"),
    [
        (b"plain\r\ntext\n", "plain\ntext\n", "utf-8", None),
        ("größe".encode(), "größe", "utf-8", None),
        ("größe".encode("latin-1"), "größe", "latin-1", None),
        ("größe".encode("utf-16"), "größe", "utf-16", None),
        ("\ufeffgröße".encode(), "größe", "utf-8", None),
        (b"\x1b[31mred\x1b[0m", "␛[31mred␛[0m", "utf-8", None),
        ("a\u202eb".encode(), "a⟨U+202E⟩b", "utf-8", None),
        (b"\x89PNG\r\n\x1a\n\0\0", None, None, "binary"),
        (bytes(range(1, 32)) * 10, None, None, "binary"),
        (b"x" * (2 * 2**20 + 1), None, None, "too_large"),
        (b"", "", "utf-8", None),
    ],
)
def test_a_preview_is_safe_text_or_a_reason(device, data, text, encoding, refused):
    device.files = {"file": data}
    commit = device.back_up().commit_id
    entry = vault.entry(device.target, commit, "file")
    assert vault.preview(device.target, entry) == vault.Preview(text, encoding, refused)
    assert b"".join(vault.stream(device.target, entry, organization_id=uuid4())) == data


def test_a_file_of_two_snapshots_is_compared_or_the_reason_is_given(device):
    device.files = {
        "t": b"a\nb\n",
        "bin": b"\0",
        "huge": b"x\n" * 2**20 + b"y",
        "lines": b"\n" * 100_001,
        "l": Link("t"),
        "large": Large(b"1" * 9 * 2**20),
        "encoded": "ü\n".encode("latin-1"),
    }
    old = device.back_up().commit_id
    device.files |= {
        "t": b"a\nc\n",
        "bin": b"\0\0",
        "huge": b"z",
        "lines": b"",
        "l": Link("bin"),
        "large": b"small",
        "encoded": "ü\n".encode(),
    }
    new = device.back_up().commit_id

    def diff(path):
        return vault.file_diff_between(device.target, (old, path), (new, path))

    assert (diff("t").text.added, diff("t").text.removed) == (1, 1)
    assert (diff("l").text.added, diff("l").text.removed) == (1, 1)
    assert diff("bin").refused == "binary"
    assert diff("huge").refused == "too_large"
    assert diff("lines").refused == "too_large"
    assert diff("large").refused == "large"
    assert (diff("large").old.size, diff("large").new.size) == (9 * 2**20, 5)
    encoded = diff("encoded")
    assert encoded.text.hunks == []
    assert (encoded.old_encoding, encoded.new_encoding) == ("latin-1", "utf-8")
    added = vault.file_diff_between(device.target, None, (new, "t"))
    assert added.text is not None
    assert (added.old, added.text.added, added.text.removed) == (None, 2, 0)
