"""Staged uploads: pieces at their offset, one effect, nothing kept that does not match."""

import hashlib
import io
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages

from sites import files

pytestmark = pytest.mark.once

RUN = "runs/5b0c"
DATA = bytes(range(256)) * 20_000
SIZE = len(DATA)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def upload(storage_folders):
    return uuid4()


def append(upload, offset, data, *, limit=2**23, max_size=2**30):
    return files.append(RUN, upload, offset, io.BytesIO(data), limit=limit, max_size=max_size)


def close(upload, *, size=SIZE, sha256=SHA256):
    return files.close(RUN, upload, name=f"{RUN}/{upload}", size=size, sha256=sha256)


def stored(name):
    with default_storage.open(name) as file:
        return file.read()


def test_pieces_become_one_file(upload, storage_folders):
    half = len(DATA) // 2
    assert append(upload, 0, DATA[:half]) == half
    assert files.length(RUN, upload) == half
    assert append(upload, half, DATA[half:]) == len(DATA)
    name = close(upload)
    assert stored(name) == DATA
    assert files.length(RUN, upload) == 0
    assert [path for path in (storage_folders / "staging").rglob("*") if path.is_file()] == []


def test_a_piece_elsewhere_is_told_where_to_go_on(upload):
    append(upload, 0, b"abc")
    for offset in (0, 2, 4, 10**12):
        with pytest.raises(files.OffsetMismatch) as refused:
            append(upload, offset, b"xyz")
        assert (refused.value.code, refused.value.length) == ("offset_mismatch", 3)
    assert append(upload, 3, b"d") == 4


def test_too_much_is_noticed_while_it_streams(upload):
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1, /):
            self.given += size
            return b"x" * size

    for limits in ({"limit": 2**20, "max_size": 2**30}, {"limit": 2**30, "max_size": 2**20}):
        endless = Endless()
        with pytest.raises(files.TooLarge) as refused:
            files.append(RUN, upload, 0, endless, **limits)
        assert refused.value.code == "too_large"
        assert endless.given <= 2**20 + 2**18
    append(upload, 0, b"x" * 100, limit=100)
    with pytest.raises(files.TooLarge):
        append(upload, 100, b"y", max_size=100)
    assert files.length(RUN, upload) == 100


def test_a_stream_that_breaks_leaves_nothing(upload):
    class Breaks(io.BytesIO):
        def read(self, size=-1, /):
            data = super().read(size)
            if not data:
                raise ConnectionResetError
            return data

    with pytest.raises(ConnectionResetError):
        files.append(RUN, upload, 0, Breaks(b"abc"), limit=10, max_size=10)
    assert files.length(RUN, upload) == 0


@pytest.mark.parametrize(
    ("size", "sha256"), [(len(DATA), "0" * 64), (len(DATA) - 1, SHA256), (len(DATA) + 1, SHA256)]
)
def test_wrong_bytes_are_thrown_away(upload, size, sha256):
    append(upload, 0, DATA)
    with pytest.raises(files.HashMismatch) as refused:
        close(upload, size=size, sha256=sha256)
    assert refused.value.code == "hash_mismatch"
    assert files.length(RUN, upload) == 0
    assert not default_storage.exists(f"{RUN}/{upload}")
    append(upload, 0, DATA)
    assert stored(close(upload)) == DATA


def test_closing_again_gives_the_same_name(upload):
    append(upload, 0, DATA)
    assert close(upload) == close(upload)
    with pytest.raises(files.NothingStaged):
        close(upload, sha256="0" * 64)
    with pytest.raises(files.NothingStaged):
        close(uuid4())


def test_an_empty_file_needs_no_piece(upload):
    empty = hashlib.sha256(b"").hexdigest()
    assert stored(close(upload, size=0, sha256=empty)) == b""
    other = uuid4()
    assert append(other, 0, b"") == 0
    assert stored(close(other, size=0, sha256=empty)) == b""


def test_a_storage_that_copies_is_served_too(upload, settings):
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    append(upload, 0, DATA)
    name = close(upload)
    assert stored(name) == DATA
    assert files.length(RUN, upload) == 0
    assert type(storages["default"]).__name__ == "InMemoryStorage"


def test_no_name_leads_out_of_the_staging_folder(storage_folders):
    for folder, upload in [
        ("..", "ab"),
        ("runs/../..", "ab"),
        ("/etc", "ab"),
        ("runs", "../ab"),
        ("runs", ""),
        ("", "ab"),
        ("runs//x", "ab"),
        ("runs\0", "ab"),
    ]:
        with pytest.raises(ValueError, match="cannot name"):
            files.append(folder, upload, 0, io.BytesIO(b""), limit=1, max_size=1)


def test_discard_and_sweep(upload, storage_folders):
    append(upload, 0, b"abc")
    now = datetime.now(UTC)
    assert files.sweep_staging(before=now - timedelta(days=1)) == 0
    assert files.length(RUN, upload) == 3
    assert files.sweep_staging(before=now + timedelta(days=1)) == 1
    assert files.length(RUN, upload) == 0
    assert list((storage_folders / "staging").iterdir()) == []
    append(upload, 0, b"abc")
    files.discard(RUN, upload)
    files.discard(RUN, upload)
    assert files.length(RUN, upload) == 0


def test_the_same_piece_five_times_at_once_is_added_once(upload):
    start = threading.Barrier(5)
    results = []

    def send():
        start.wait()
        try:
            results.append(append(upload, 0, DATA))
        except files.OffsetMismatch as refused:
            results.append(-refused.length)

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [-len(DATA)] * 4 + [len(DATA)]
    assert stored(close(upload)) == DATA


SENDER = """
import sys, io
from django.conf import settings
settings.configure(STAGING_ROOT=sys.argv[1])
from sites import files
data = sys.stdin.buffer.read()
offset, step, wins = 0, 4096, 0
while offset < len(data):
    try:
        offset = files.append(
            "runs/5b0c", sys.argv[2], offset, io.BytesIO(data[offset:offset + step]),
            limit=step, max_size=len(data))
        wins += 1
    except files.OffsetMismatch as mismatch:
        offset = mismatch.length
print(wins)
"""


def test_processes_that_race_through_a_whole_file_write_it_once(upload, storage_folders):
    data = DATA[:400_000]
    senders = [
        subprocess.Popen(
            [sys.executable, "-c", SENDER, str(storage_folders / "staging"), str(upload)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for sender in senders:
        assert sender.stdin is not None
        sender.stdin.write(data)
        sender.stdin.close()
    wins = []
    for sender in senders:
        assert sender.stdout is not None
        wins.append(int(sender.stdout.read()))
        sender.stdout.close()
        assert sender.wait() == 0
    assert sum(wins) == -(-len(data) // 4096)
    name = close(upload, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert stored(name) == data


def test_appends_and_closes_at_once_never_lose_a_file(upload):
    """Whoever closes first wins; a late append begins a new upload and touches no stored byte."""
    append(upload, 0, DATA)
    start = threading.Barrier(6)
    results = []

    def run(work):
        start.wait()
        try:
            results.append(work())
        except (files.OffsetMismatch, files.NothingStaged, files.HashMismatch) as refused:
            results.append(refused)

    threads = [threading.Thread(target=run, args=(lambda: close(upload),)) for _ in range(3)]
    threads += [
        threading.Thread(target=run, args=(lambda: append(upload, len(DATA), b"more"),))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    name = f"{RUN}/{upload}"
    if name in results:
        assert stored(name) == DATA
    else:
        assert not default_storage.exists(name)


def test_local_storage_replaces_in_one_step_and_leaves_no_drafts(storage_folders):
    assert default_storage.save("a/b", ContentFile(b"one")) == "a/b"
    assert default_storage.save("a/b", ContentFile(b"two")) == "a/b"
    assert stored("a/b") == b"two"

    class Broken(ContentFile):
        def chunks(self, chunk_size=None):
            yield b"th"
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        default_storage.save("a/b", Broken(b"three"))
    assert stored("a/b") == b"two"
    assert [path.name for path in (storage_folders / "files" / "a").iterdir()] == ["b"]
    default_storage.delete("a/b")
    default_storage.delete("a/b")
    assert not default_storage.exists("a/b")
