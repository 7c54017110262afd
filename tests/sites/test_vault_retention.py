"""Snapshots go: one by one, those that no row knows, quarantines, whole targets."""

import io
import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from sites import vault
from sites.vault import packs
from tests.sites.sender import Large, blob_id, frame, line

pytestmark = pytest.mark.once

KEY = "1-1"
NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)
EARLIER = NOW - timedelta(hours=1)


def objects(device):
    listing = device.git("cat-file", "--batch-all-objects", "--batch-check")
    return {row.split()[0] for row in listing.splitlines()}


def test_a_deleted_snapshot_is_gone_with_its_bytes_and_the_others_stay(device):
    commits = {}
    for n in range(4):
        device.files = {"shared": b"shared", f"own/{n}": b"only in %d" % n}
        snapshot = uuid4()
        commits[snapshot] = device.back_up(snapshot).commit_id
    first, second, *rest = commits
    assert vault.delete_snapshots(device.target, [first, second, uuid4()]) == 2
    device.fsck()
    assert set(vault.refs(device.target)) == set(rest)
    there = objects(device)
    assert not {blob_id(b"only in 0"), blob_id(b"only in 1"), commits[first]} & there
    assert {blob_id(b"only in 2"), blob_id(b"only in 3"), blob_id(b"shared")} <= there
    with pytest.raises(vault.NotInVault):
        vault.entries(device.target, commits[first])
    assert device.git("count-objects", "-v").count("packs: 1\n") == 1
    assert vault.delete_snapshots(device.target, [first]) == 0


def test_the_last_snapshot_leaves_an_empty_repository_that_works_on(device):
    device.files = {"a": b"1"}
    snapshot = uuid4()
    device.back_up(snapshot)
    vault.delete_snapshots(device.target, [snapshot])
    assert objects(device) == set()
    device.back_up()
    device.fsck()


def test_refs_without_a_row_go_when_they_are_old(device):
    device.files = {"a": b"1"}
    known, lost = uuid4(), uuid4()
    device.back_up(known)
    device.files = {"a": b"2"}
    device.back_up(lost)
    assert vault.sweep_refs(device.target, {known}, before=EARLIER) == []
    assert vault.sweep_refs(device.target, {known}, before=LATER) == [lost]
    assert set(vault.refs(device.target)) == {known}
    assert vault.sweep_refs(uuid4(), set(), before=LATER) == []


def test_refs_that_plain_git_packed_are_found_and_deleted(device):
    device.files = {"a": b"1"}
    known, lost = uuid4(), uuid4()
    for snapshot in (known, lost):
        device.back_up(snapshot)
    device.git("pack-refs", "--all")
    assert set(vault.refs(device.target)) == {known, lost}
    assert vault.sweep_refs(device.target, {known}, before=LATER) == [lost]
    assert set(vault.refs(device.target)) == {known}
    device.fsck()


def test_many_packs_become_one(device, monkeypatch):
    monkeypatch.setattr(packs, "MANY_PACKS", 3)
    known = [uuid4() for _ in range(4)]
    for n, snapshot in enumerate(known):
        device.files = {"a": b"%d" % n}
        device.back_up(snapshot)
    vault.sweep_refs(device.target, known, before=LATER)
    assert "packs: 1\n" in device.git("count-objects", "-v")
    assert set(vault.refs(device.target)) == set(known)
    device.fsck()


def test_quarantines_go_when_nothing_comes_any_more(device):
    device.files = {"a": b"1"}
    device.send("1-1")
    device.send("2-1")
    folder = device.folder / "vault" / "quarantine"
    old = folder / f"{device.target}.1-1"
    os.utime(old, (0, 0))
    assert vault.sweep_quarantines(before=EARLIER) == 1
    assert [path.name for path in folder.iterdir()] == [f"{device.target}.2-1"]
    with pytest.raises(vault.NoManifest):
        device.seal("1-1")
    vault.drop_quarantine(device.target, "2-1")
    vault.drop_quarantine(device.target, "2-1")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("begun_anew", [False, True])
def test_a_manifest_whose_quarantine_is_dropped_meanwhile_is_not_taken(device, begun_anew):
    """As when it came twice, and the other one was refused for room."""

    def lines():
        yield line("a", b"1")
        vault.drop_quarantine(device.target, KEY)
        if begun_anew:
            vault.begin(device.target, KEY)
        yield line("b", b"2")

    with pytest.raises(vault.NoManifest):
        vault.take_manifest(device.target, KEY, lines())
    quarantines = device.folder / "vault" / "quarantine"
    assert not [path for path in quarantines.rglob("*") if path.is_file()]


def test_objects_and_content_whose_quarantine_is_dropped_meanwhile_find_no_manifest(device):
    def drop(*_):
        vault.drop_quarantine(device.target, KEY)

    class Dropping(io.BytesIO):
        def read(self, size=-1):
            drop()
            return super().read(size)

    vault.take_manifest(device.target, KEY, [line("a", b"1")])
    with pytest.raises(vault.NoManifest):
        vault.take_objects(device.target, KEY, Dropping(frame(b"1")), limit=100)
    film, limits = Large(b"film").pointer, {"limit": 100, "max_size": 100}
    vault.append_content(device.target, KEY, film.sha256, 0, io.BytesIO(b"film"), **limits)
    about = {"size": film.size, "organization_id": device.organization}
    with pytest.raises(vault.NoManifest):
        vault.close_content(device.target, KEY, film.sha256, **about, stored=drop)


def test_a_dropped_vault_is_gone_and_begins_anew(device):
    device.files = {"a": b"1"}
    commit = device.back_up().commit_id
    vault.drop_vault(device.target)
    vault.drop_vault(device.target)
    with pytest.raises(vault.NotInVault):
        vault.entries(device.target, commit)
    assert vault.refs(device.target) == {}
    device.back_up()
    device.fsck()
