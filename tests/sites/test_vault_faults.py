"""Processes that die while they change the vault, and several that change it at once."""

import hashlib
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pygit2
import pytest

from sites import files, vault
from sites.vault import quarantine
from sites.vault.errors import NoManifest
from tests.sites.killed import dies, rounds
from tests.sites.sender import Device, Large, blob_id, frame, line

pytestmark = pytest.mark.once

KEY = "2-1"


@pytest.mark.faults
def test_a_seal_killed_anywhere_leaves_what_was_there_and_can_be_done_again(device):
    device.files = {"a/old": b"old\n", "b": b"both\n"}
    before = uuid4()
    old = device.back_up(before)
    device.files = {"a/new": b"new\n", "b": b"both\n", "film": Large(b"f" * (8 * 2**20 + 1))}
    device.send(KEY)
    tree = device.tree()
    snapshot = uuid4()
    deaths = 0
    half_done = 0
    for call in rounds(device.folder):
        died = dies(call, lambda: device.seal(KEY, tree, snapshot))
        device.fsck()
        refs = vault.refs(device.target)
        assert refs.pop(before) == old.commit_id
        assert set(refs) <= {snapshot}
        assert device.git("show", f"{old.commit_id}:a/old") == "old\n"
        half_done += not refs
        # Another process takes over where that one died.
        again = device.seal(KEY, tree, snapshot)
        device.fsck()
        assert vault.refs(device.target) == {before: old.commit_id, snapshot: again.commit_id}
        assert device.git("show", f"{again.commit_id}:a/new") == "new\n"
        assert vault.compare(device.target, old.commit_id, again.commit_id).counts.total == 3
        if not died:
            break
        deaths += 1
    assert not died
    assert deaths >= 15
    assert 0 < half_done < deaths


@pytest.mark.faults
def test_a_deletion_killed_anywhere_leaves_the_other_snapshots(device):
    device.files = {"a": b"1" * 1000, "shared": b"s"}
    going = uuid4()
    device.back_up(going)
    device.files = {"a": b"2" * 1000, "shared": b"s"}
    staying = uuid4()
    kept = device.back_up(staying)
    for call in rounds(device.folder):
        died = dies(call, lambda: vault.delete_snapshots(device.target, [going]))
        device.fsck()
        assert vault.refs(device.target)[staying] == kept.commit_id
        assert device.git("show", f"{kept.commit_id}:a") == "2" * 1000
        vault.delete_snapshots(device.target, [going])
        device.fsck()
        assert vault.refs(device.target) == {staying: kept.commit_id}
        assert blob_id(b"1" * 1000) not in device.git(
            "cat-file", "--batch-all-objects", "--batch-check"
        )
        assert list(device.repository.glob("repack-*")) == []
        if not died:
            break
    assert not died
    assert call > 8


@pytest.mark.faults
def test_an_upload_killed_while_it_is_closed_can_be_closed_again(storage_folders):
    from django.core.files.storage import default_storage

    upload = uuid4()
    sha256 = hashlib.sha256(b"abc").hexdigest()
    files.append("runs/1", upload, 0, io.BytesIO(b"abc"), limit=9, max_size=9)

    def close():
        return files.close("runs/1", upload, name="runs/1/a", size=3, sha256=sha256)

    for call in rounds(storage_folders):
        died = dies(call, close)
        if default_storage.exists("runs/1/a"):
            with default_storage.open("runs/1/a") as stored:
                assert stored.read() == b"abc"
        assert close() == "runs/1/a"
        with default_storage.open("runs/1/a") as stored:
            assert stored.read() == b"abc"
        assert files.length("runs/1", upload) == 0
        if not died:
            break
    assert not died
    assert call > 4


def in_threads(*works):
    """Start everything at one moment; give results and exceptions in order."""
    start = threading.Barrier(len(works))
    results: list[object] = [None] * len(works)

    def run(number, work):
        start.wait()
        try:
            results[number] = work()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_every_request_of_a_snapshot_sent_five_times_at_once_has_one_effect(device):
    device.files = {f"d/{n}": b"%d" % n for n in range(30)}
    manifest = [line(path, content) for path, content in device.files.items()]
    body = b"".join(frame(content) for content in device.files.values())
    snapshot = uuid4()
    tree = device.tree()
    in_threads(*[lambda: vault.begin(device.target, KEY)] * 5)
    missing = in_threads(*[lambda: vault.take_manifest(device.target, KEY, manifest)] * 5)
    assert [len(getattr(one, "objects", ())) for one in missing] == [30] * 5
    assert (
        in_threads(
            *[lambda: vault.take_objects(device.target, KEY, io.BytesIO(body), limit=10_000)] * 5
        )
        == [30] * 5
    )
    sealed = in_threads(*[lambda: device.seal(KEY, tree, snapshot)] * 5)
    assert len(set(sealed)) == 1
    assert len(vault.refs(device.target)) == 1
    device.fsck()


def test_snapshots_of_one_target_are_sealed_and_deleted_side_by_side(device):
    others = []
    for n in range(6):
        other = Device(device.folder, device.target, device.organization)
        other.files = {"shared": b"s", "own": b"%d" % n}
        other.send(f"{n}-1")
        others.append((other, other.tree(), uuid4(), f"{n}-1"))
    going = []
    for n in range(3):
        device.files = {"shared": b"s", "gone": b"%d" % n}
        going.append(uuid4())
        device.back_up(going[-1])
    results = in_threads(
        *(lambda o=o, t=t, s=s, k=k: o.seal(k, t, s) for o, t, s, k in others),
        *(lambda g=g: vault.delete_snapshots(device.target, [g]) for g in going),
    )
    # A deletion may take what a seal counted on; then that one says so and is sent again.
    for (other, tree, snapshot, key), result in zip(others, results, strict=False):
        if isinstance(result, vault.IncompleteSnapshot):
            other.send(key)
            other.seal(key, tree, snapshot)
        else:
            assert isinstance(result, vault.Sealed), result
    assert results[6:] == [1, 1, 1]
    assert set(vault.refs(device.target)) == {snapshot for _, _, snapshot, _ in others}
    device.fsck()


def test_a_repository_is_made_once(storage_folders):
    targets = [UUID(int=n) for n in range(4)]
    results = in_threads(*(lambda t=t: vault.begin(t, KEY) for t in targets * 4))
    assert results == [None] * 16
    assert sorted(p.name for p in (storage_folders / "vault" / "00").iterdir()) == [
        f"{target}.git" for target in targets
    ]


def test_a_quarantine_that_goes_while_it_is_filled_is_told_as_gone(tmp_path: Path) -> None:
    """Of requests that come twice one may drop what the other one fills, and a third begin anew."""
    repository = tmp_path / "vault.git"
    pygit2.init_repository(str(repository), bare=True)
    (tmp_path / "quarantine").mkdir()
    upload = quarantine.place(tmp_path, uuid4(), "upload-1")
    entry = json.dumps({"path": "a.txt", "mode": "100644", "size": 3, "id": "a" * 40}).encode()

    def fill_and_drop() -> set[str]:
        said = set()
        for _ in range(80):
            try:
                quarantine.take_manifest(upload, repository, [entry], max_bytes=None)
                quarantine.drop(upload)
                said.add("taken")
            except NoManifest:
                said.add("gone")
        return said

    with ThreadPoolExecutor(6) as pool:
        fillers = [pool.submit(fill_and_drop) for _ in range(6)]
    said = set.union(*(one.result() for one in fillers))
    # Whether one met another is the machine's to say.
    assert "taken" in said
    assert said <= {"taken", "gone"}
