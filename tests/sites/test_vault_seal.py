"""A snapshot comes to be: manifest, objects, seal; checked by the real git."""

import io
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage

from sites import files, vault
from sites.vault import manifest
from tests.sites.sender import Large, Link, Program, blob_id, frame, line

pytestmark = pytest.mark.once

KEY = "9c0de9b2-2b6f-4a53-8d3e-0a5f4f1f4f0e-1"
FILES = {
    "blocks/OB1.scl": b"REGION Press\n  #ready := TRUE;\nEND_REGION\n",
    "blocks/FB200.scl": b"NETWORK 9\n",
    "blocks.txt": b"sorts between blocks and blocks/\n",
    "blocks-old": b"so does this\n",
    "tags/press.csv": b"a;b\n",
    "run.sh": Program(b"#!/bin/sh\n"),
    "current": Link("blocks/OB1.scl"),
    "empty": b"",
    "deep/er/and/er": b"x",
    "größe.txt": "Grüße\n".encode(),
}


def test_a_snapshot_is_what_git_would_have_made(device):
    device.files = dict(FILES)
    snapshot = uuid4()
    sealed = device.back_up(snapshot)
    device.fsck()
    assert sealed.files == 10
    assert sealed.bytes == sum(
        int(size)
        for size in device.git("ls-tree", "-r", "--format=%(objectsize)", sealed.commit_id).split()
    )
    assert vault.refs(device.target) == {snapshot: sealed.commit_id}
    assert device.git("rev-parse", f"refs/snapshots/{snapshot}").strip() == sealed.commit_id
    assert "parent" not in device.git("cat-file", "commit", sealed.commit_id)
    assert device.git("show", f"{sealed.commit_id}:blocks/FB200.scl") == "NETWORK 9\n"
    # Everything lies in one pack, and the quarantine is gone.
    assert "in-pack: " in device.git("count-objects", "-v")
    assert "count: 0\n" in device.git("count-objects", "-v")
    assert "packs: 1\n" in device.git("count-objects", "-v")
    assert list((device.folder / "vault" / "quarantine").iterdir()) == []


def test_an_empty_folder_is_a_snapshot_too(device):
    sealed = device.back_up()
    device.fsck()
    assert (sealed.tree_id, sealed.files, sealed.bytes) == (vault.EMPTY_TREE, 0, 0)
    assert vault.entries(device.target, sealed.commit_id) == []


def test_only_what_the_vault_lacks_is_asked_for_and_packed(device):
    device.files = dict(FILES)
    device.back_up()
    device.files["tags/press.csv"] = b"a;b;c\n"
    missing = device.send(KEY)
    assert missing.objects == [blob_id(b"a;b;c\n")]
    device.seal(KEY)
    newest = max(
        (device.repository / "objects/pack").glob("*.idx"), key=lambda p: p.stat().st_mtime_ns
    )
    # The blob, the folder that holds it, the root, the commit.
    assert len(device.git("verify-pack", "-v", str(newest)).split("non delta")[0].splitlines()) == 4
    device.fsck()


def test_the_same_tree_again_adds_a_commit_and_nothing_else(device):
    device.files = dict(FILES)
    first = device.back_up()
    before = int(device.git("rev-list", "--all", "--objects", "--count"))
    second = device.back_up()
    assert second.tree_id == first.tree_id
    assert int(device.git("rev-list", "--all", "--objects", "--count")) == before
    assert len(vault.refs(device.target)) == 2
    device.fsck()


def test_sealing_again_gives_the_same_answer_without_the_parts(device):
    device.files = {**FILES, "film.bin": Large(b"z" * (8 * 2**20 + 1))}
    snapshot = uuid4()
    device.send(KEY)
    first = device.seal(KEY, snapshot=snapshot)
    assert device.seal(KEY, snapshot=snapshot) == first
    with pytest.raises(vault.TreeMismatch):
        device.seal(KEY, tree=vault.EMPTY_TREE, snapshot=snapshot)


def test_a_seal_for_another_tree_changes_nothing(device):
    device.files = dict(FILES)
    device.send(KEY)
    with pytest.raises(vault.TreeMismatch) as refused:
        device.seal(KEY, tree="0" * 40)
    assert refused.value.code == "tree_mismatch"
    assert vault.refs(device.target) == {}
    assert device.seal(KEY).files == 10


def test_a_seal_before_everything_is_there_says_what_is_missing(device):
    film = Large(b"z" * (8 * 2**20 + 1))
    device.files = {"a": b"here", "b": b"not here", "film.bin": film}
    vault.begin(device.target, KEY)
    missing = vault.take_manifest(
        device.target, KEY, [line(path, content) for path, content in device.files.items()]
    )
    assert sorted(missing.objects) == sorted([blob_id(b"here"), blob_id(b"not here")])
    assert missing.content == [film.pointer.sha256]
    vault.take_objects(device.target, KEY, io.BytesIO(frame(b"here")), limit=100)
    with pytest.raises(vault.IncompleteSnapshot) as refused:
        device.seal(KEY)
    assert refused.value.code == "incomplete_snapshot"
    assert refused.value.missing == [blob_id(b"not here")]
    assert refused.value.missing_content == [film.pointer.sha256]
    device.send(KEY)
    assert device.seal(KEY).files == 3
    device.fsck()


def test_without_a_manifest_there_is_nothing_to_seal_or_to_send(device):
    vault.begin(device.target, KEY)
    with pytest.raises(vault.NoManifest):
        device.seal(KEY)
    with pytest.raises(vault.NoManifest):
        vault.take_objects(device.target, KEY, io.BytesIO(frame(b"x")), limit=100)


def test_an_object_that_a_power_cut_broke_is_asked_for_again(device):
    device.files = {"a": b"one\n" * 100, "b": b"two\n"}
    device.send(KEY)
    objects = device.folder / "vault" / "quarantine" / f"{device.target}.{KEY}" / "objects"
    whole = blob_id(b"one\n" * 100)
    loose = objects / whole[:2] / whole[2:]
    loose.chmod(0o644)
    data = bytearray(loose.read_bytes())
    data[-8] ^= 0xFF
    loose.write_bytes(data)
    empty = blob_id(b"two\n")
    (objects / empty[:2] / empty[2:]).chmod(0o644)
    (objects / empty[:2] / empty[2:]).write_bytes(b"")
    asked = set()
    for _ in range(3):
        try:
            device.seal(KEY)
            break
        except vault.IncompleteSnapshot as refused:
            asked |= set(refused.missing)
            device.send(KEY)
            again = [c for c in device.files.values() if blob_id(c) in refused.missing]
            vault.take_objects(
                device.target, KEY, io.BytesIO(b"".join(map(frame, again))), limit=10_000
            )
    assert asked == {whole, empty}
    device.fsck()


@pytest.mark.parametrize(
    ("body", "error", "code"),
    [
        (frame(b"one")[:10], vault.InvalidObjects, "invalid_objects"),
        (frame(b"one")[:-1], vault.InvalidObjects, "invalid_objects"),
        (frame(b"two", blob_id(b"one")), vault.WrongHash, "hash_mismatch"),
        (frame(b"never listed"), vault.InvalidObjects, "invalid_objects"),
        (bytes(20) + b"\xff\xff\xff\xff", files.TooLarge, "too_large"),
        (frame(b"one") * 5, files.TooLarge, "too_large"),
    ],
    ids=["cut in header", "cut in bytes", "wrong hash", "not listed", "object over 8 MiB", "limit"],
)
def test_objects_that_are_wrong_are_refused_and_the_good_ones_before_them_stay(
    device, body, error, code
):
    vault.begin(device.target, KEY)
    vault.take_manifest(device.target, KEY, [line("1", b"one"), line("2", b"good")])
    with pytest.raises(error) as refused:
        vault.take_objects(device.target, KEY, io.BytesIO(frame(b"good") + body), limit=120)
    assert refused.value.code == code
    device.files = {"1": b"one", "2": b"good"}
    assert blob_id(b"good") not in device.send(KEY).objects
    device.seal(KEY)
    device.fsck()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([b"{"], "Line 1 is not JSON"),
        ([b"[" * 20_000], "Line 1 is not JSON"),
        ([b'"text"'], "Line 1 is not an object"),
        ([line("a", owner="root")], "Line 1 is not an object of"),
        ([b'{"mode": "100644"}'], "no path"),
        ([line("a", mode="100664")], "mode"),
        ([line("a", mode="160000")], "mode"),
        ([line("a", mode=100644)], "mode"),
        ([line("a", size=-1)], "size"),
        ([line("a", size=True)], "size"),
        ([line("a", size=1.0)], "size"),
        ([line("a", size=2**64)], "size"),
        ([line("a", id="A" * 40)], "id is 40 hex"),
        ([line("a", id="a" * 39)], "id is 40 hex"),
        ([line("a", sha256="0" * 64)], "only a file over"),
        ([line("a", size=2**24)], "sent as a pointer"),
        ([line("a", size=2**24, sha256="0" * 64)], "id is not that of the file's pointer"),
        ([line("a", size=2**24, sha256="0" * 63)], "sha256 is 64 hex"),
        ([line("a"), line("b"), line("a")], "twice"),
        ([line("a/b"), line("a")], "both a file and a folder"),
        ([line("a"), line("a-b"), line("a/b/c/d")], "both a file and a folder"),
        ([b"x" * 40_000], "longer than"),
    ],
)
def test_a_manifest_that_describes_no_tree_is_refused_whole(device, lines, says):
    vault.begin(device.target, KEY)
    with pytest.raises(vault.InvalidManifest, match=says) as refused:
        vault.take_manifest(device.target, KEY, lines)
    assert refused.value.code == "invalid_manifest"
    with pytest.raises(vault.NoManifest):
        device.seal(KEY)
    quarantine = device.folder / "vault" / "quarantine" / f"{device.target}.{KEY}"
    assert [path for path in quarantine.rglob("*") if path.is_file()] == []


def test_a_refused_manifest_leaves_the_one_before_it(device):
    device.files = {"a": b"1"}
    device.send(KEY)
    with pytest.raises(vault.UnsafePath):
        vault.take_manifest(device.target, KEY, [line("b"), line("../b")])
    assert device.seal(KEY).files == 1


def test_a_manifest_has_limits(device, monkeypatch):
    monkeypatch.setattr(manifest, "MAX_ENTRIES", 3)
    with pytest.raises(vault.InvalidManifest, match="at most 3 files"):
        vault.take_manifest(device.target, KEY, (line(str(n)) for n in range(4)))
    with pytest.raises(vault.InvalidManifest, match="at most 1 bytes"):
        vault.take_manifest(device.target, KEY, [line("a"), line("b")], max_bytes=1)


def test_a_stream_is_cut_into_lines_whatever_the_pieces():
    class Trickle(io.BytesIO):
        def read(self, size=-1, /):
            return super().read(3)

    assert list(vault.manifest_lines(Trickle(b"abcd\n\nef\ngh"))) == [b"abcd", b"", b"ef", b"gh"]
    with pytest.raises(vault.InvalidManifest):
        list(vault.manifest_lines(io.BytesIO(b"x" * 10**6)))


def test_sizes_that_the_manifest_invents_are_found_at_seal(device):
    device.files = {"a": b"four"}
    vault.begin(device.target, KEY)
    vault.take_manifest(device.target, KEY, [line("a", b"four", size=5)])
    with pytest.raises(vault.InvalidObjects):
        vault.take_objects(device.target, KEY, io.BytesIO(frame(b"four")), limit=100)
    vault.take_manifest(device.target, KEY, [line("a", b"four")])
    vault.take_objects(device.target, KEY, io.BytesIO(frame(b"four")), limit=100)
    vault.take_manifest(device.target, KEY, [line("a", b"four", size=5)])
    with pytest.raises(vault.InvalidManifest, match="has 4 bytes"):
        device.seal(KEY)


def test_large_content_lies_in_storage_and_the_tree_holds_the_pointer(device):
    film = Large(bytes(range(256)) * 40_000)
    device.files = {"film.bin": film, "note": b"n"}
    sealed = device.back_up()
    device.fsck()
    assert sealed.bytes == len(film.data) + 1
    name = f"content/{device.organization}/{film.pointer.sha256[:2]}/{film.pointer.sha256}"
    assert default_storage.size(name) == len(film.data)
    assert device.git("show", f"{sealed.commit_id}:film.bin") == (
        f"yardmaster large file v1\nsha256 {film.pointer.sha256}\nsize {len(film.data)}\n"
    )
    entry = vault.entry(device.target, sealed.commit_id, "film.bin")
    assert (entry.size, entry.large, entry.sha256) == (len(film.data), True, film.pointer.sha256)
    pieces = list(vault.stream(device.target, entry, organization_id=device.organization))
    assert b"".join(pieces) == film.data
    assert max(map(len, pieces)) <= 256 * 1024
    assert vault.preview(device.target, entry).refused == "large"
    # The next snapshot need not send it again.
    device.files["note"] = b"m"
    assert device.send(KEY).content == []
    device.seal(KEY)


def test_a_content_upload_may_be_repeated(device):
    film = Large(b"f" * (9 * 2**20))
    device.files = {"film.bin": film}
    device.send(KEY)
    assert device.upload(KEY, film) is False
    device.seal(KEY)


def test_knowing_a_hash_gives_no_one_the_content(device, storage_folders):
    """Neither another organization nor another target of the same one gets bytes it never sent."""
    from tests.sites.sender import Device

    film = Large(b"secret" * 2 * 2**20)
    device.files = {"film.bin": film}
    device.back_up()
    for other in (
        Device(storage_folders),
        Device(storage_folders, organization=device.organization),
    ):
        other.files = {"mine.bin": film}
        vault.begin(other.target, KEY)
        missing = vault.take_manifest(other.target, KEY, [line("mine.bin", film)])
        assert missing.content == [film.pointer.sha256]
        # Saying that it was sent, or sealing as if it were there, takes no one further.
        with pytest.raises(files.NothingStaged):
            vault.close_content(
                other.target,
                KEY,
                film.pointer.sha256,
                size=film.pointer.size,
                organization_id=other.organization,
            )
        with pytest.raises(vault.IncompleteSnapshot) as refused:
            other.seal(KEY)
        assert refused.value.missing_content == [film.pointer.sha256]
    stranger = Device(storage_folders)
    stranger.files = {"mine.bin": film}
    stranger.back_up()
    folders, _ = default_storage.listdir("content")
    assert sorted(folders) == sorted([str(device.organization), str(stranger.organization)])


def test_a_file_that_looks_like_a_pointer_is_refused(device):
    film = Large(b"secret" * 2 * 2**20)
    device.files = {"trick": film.pointer.blob()}
    device.send(KEY)
    with pytest.raises(vault.InvalidManifest, match="looks like a pointer"):
        device.seal(KEY)


def test_content_that_nothing_points_at_is_swept(device):
    from datetime import UTC, datetime, timedelta

    kept, lost = Large(b"k" * (9 * 2**20)), Large(b"l" * (9 * 2**20))
    device.files = {"a": kept, "sub/b": lost}
    first = uuid4()
    device.back_up(first)
    del device.files["sub/b"]
    device.back_up()
    later = datetime.now(UTC) + timedelta(minutes=1)
    everything = [device.target, uuid4()]
    assert vault.sweep_content(device.organization, everything, before=later) == 0
    vault.delete_snapshots(device.target, [first])
    earlier = later - timedelta(days=1)
    assert vault.sweep_content(device.organization, everything, before=earlier) == 0
    assert vault.sweep_content(device.organization, everything, before=later) == 1
    name = f"content/{device.organization}/{{0:.2}}/{{0}}"
    assert default_storage.exists(name.format(kept.pointer.sha256))
    assert not default_storage.exists(name.format(lost.pointer.sha256))
