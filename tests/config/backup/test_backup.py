"""A portal is backed up and put back into an empty place, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import tarfile
import uuid
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from agents import enrolment
from agents.models import Function
from jobs.models import Job, JobRun, StatusTransition
from jobs.states import Status
from tests import factories
from tests.backups import back_up, leave_file
from tests.config.backup.houses import empty_database, move_house
from tests.people import API

RUNS = 1000
PAGE = b"<p>What the press said.</p>"
DIFFS = ("diff", "diff?path=main.st")


@pytest.fixture
def house(settings, tmp_path) -> Path:
    move_house(settings, tmp_path / "old")
    return tmp_path / "old"


def finish_many(job: Job, count: int) -> None:
    """Runs that have ended, each with its history."""
    runs = JobRun.objects.bulk_create(
        (
            JobRun(
                organization=job.organization,
                site=job.site,
                target=job.target,
                job=job,
                function=job.function,
                name=f"run {number} – Prüfstand\t\\N\n",
                parameters={"number": number},
                status=Status.FAILED,
                error="Out of paper.",
                finished_at="2026-01-01T00:00:00Z",
            )
            for number in range(count)
        ),
        batch_size=500,
    )
    StatusTransition.objects.bulk_create(
        StatusTransition(run=run, sequence=1, to_status=Status.FAILED) for run in runs
    )


def rows() -> dict[str, list[str]]:
    """Every row of every table of the portal."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found[table] = sorted(map(repr, cursor.fetchall()))
    return found


@pytest.mark.django_db(transaction=True)
def test_every_run_file_and_diff_is_there_again(settings, tmp_path, house, agent, job, edda):
    enrolment.new_code(agent.agent, by=edda)
    for text in (b"one\n", b"two\n"):
        run = factories.run(job, by=edda)
        (held,) = [back_up(agent.api, {"main.st": text, "notes/über.txt": b"kept"})]
    other = factories.job(job.target, Function.objects.get(name="list"), owner=edda, name="list it")
    factories.run(other, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    leave_file(agent.api, held, uuid.uuid4(), "said.html", PAGE)
    agent.api.finish(held)
    finish_many(job, RUNS)
    default_storage.save("content/large", ContentFile(b"L" * 3_000_000))
    api = API(edda)
    diffs = [api.get(f"runs/{run.public_id}/{what}").json() for what in DIFFS]
    assert "two" in json.dumps(diffs)
    before = rows()
    assert before["agents_enrolmentcode"]

    file = tmp_path / "portal.tar"
    call_command("backup", file, stdout=(said := io.StringIO()))
    assert file.stat().st_mode & 0o777 == 0o600
    assert "key of" not in said.getvalue()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    be_from_before_the_squash(file)

    move_house(settings, tmp_path / "new")
    with empty_database(tmp_path / "new"):
        call_command("restore", file, stdout=(said := io.StringIO()))
        assert "key of" not in said.getvalue()
        assert rows() == before
        assert JobRun.objects.count() == RUNS + 3
        assert [api.get(f"runs/{run.public_id}/{what}").json() for what in DIFFS] == diffs
        (left,) = api.get(f"runs/{held['id']}/files").json()["results"]
        answer = api.get(f"runs/{held['id']}/files/{left['id']}/content")
        assert b"".join(answer.streaming_content) == PAGE
        assert default_storage.size("content/large") == 3_000_000
        key = settings.DATA_DIR / "secret-key"
        assert (key.read_text(), key.stat().st_mode & 0o777) == ("key of old", 0o600)
        # It goes on: numbers are given on from where they were, and snapshots are added.
        again = factories.run(Job.objects.get(pk=job.pk), by=edda)
        assert again.pk > run.pk
        back_up(agent.api, {"main.st": b"three\n"})
        again.refresh_from_db()
        assert (again.status, again.result) == (Status.COMPLETED, "modified")

        with pytest.raises(CommandError, match=r"database .* and the vault .* and the file"):
            call_command("restore", file, stdout=io.StringIO())


@pytest.fixture
def archive(house, tmp_path, job) -> Path:
    """A small backup."""
    default_storage.save("content/some", ContentFile(PAGE * 100))
    path = tmp_path / "portal.tar"
    call_command("backup", path, stdout=io.StringIO())
    return path


def rewritten(archive: Path, change: Callable[[tarfile.TarInfo, bytes], bytes]) -> None:
    """Write an archive anew with a change to what its members hold, or to what they are."""
    with tarfile.open(archive) as old:
        members = [(one, old.extractfile(one).read() if one.isreg() else b"") for one in old]
    with tarfile.open(archive, "w") as new:
        for member, content in members:
            content = change(member, content)
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))


def damage(archive: Path) -> None:
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace(PAGE * 100, PAGE * 99 + PAGE.upper()))


def cut_short(archive: Path) -> None:
    """Leave it without its end, as a full disk would have; on the edge of a member, and within."""
    with tarfile.open(archive) as tar:
        last = tar.getmembers()[-1]
    os.truncate(archive, last.offset)


def cut_within(archive: Path) -> None:
    os.truncate(archive, archive.stat().st_size // 2)


def lead_out(archive: Path) -> None:
    def change(member: tarfile.TarInfo, content: bytes) -> bytes:
        if member.name == "files/content/some":
            member.name = "data/../../outside"
        return content

    rewritten(archive, change)


def say(archive: Path, old: str, new: str) -> None:
    """Let the backup say something else about itself, with the checksum that fits."""
    sums: dict[bytes, bytes] = {}

    def change(member: tarfile.TarInfo, content: bytes) -> bytes:
        if member.name == "backup.json":
            said = content.replace(old.encode(), new.encode(), 1)
            sums[hashed(content)] = hashed(said)
            return said
        if member.name == "SHA256SUMS":
            for before, after in sums.items():
                content = content.replace(before, after)
        return content

    rewritten(archive, change)


def hashed(content: bytes) -> bytes:
    return sha256(content).hexdigest().encode()


def be_from_before_the_squash(archive: Path) -> None:
    """Let it know the single steps alone, and not what replaces them."""
    for _, name in MigrationLoader(None).replacements:
        say(archive, f'"{name}"', '"0001_initial"')


def come_from_the_future(archive: Path) -> None:
    say(archive, '"0001_initial"', '"9999_later"')


def be_of_another_kind(archive: Path) -> None:
    say(archive, f'"{connection.vendor}"', '"oracle"')


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage, "damaged: files/content/some is not what was written"),
        (cut_short, "not a whole backup"),
        (cut_within, "cannot be read as a backup|not a whole backup"),
        (lead_out, "no backup of ours has"),
        (come_from_the_future, "another version of Yardmaster, which has .*9999_later"),
        (be_of_another_kind, "a portal on oracle"),
    ],
)
@pytest.mark.once
def test_what_is_not_as_it_was_written_is_refused_and_nothing_is_put_back(
    settings, tmp_path, archive, spoil, words
):
    spoil(archive)
    move_house(settings, tmp_path / "new")
    before = sorted(tmp_path.rglob("*"))
    with empty_database(tmp_path / "new"), pytest.raises(CommandError, match=words):
        call_command("restore", archive, stdout=io.StringIO())
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "new" / "secret-key").read_text() == "key of new"


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
def test_a_backup_is_compressed_when_its_name_says_so(settings, tmp_path, archive):
    call_command("backup", packed := tmp_path / "portal.tar.gz", stdout=io.StringIO())
    assert packed.stat().st_size < archive.stat().st_size / 2
    move_house(settings, tmp_path / "new")
    with empty_database(tmp_path / "new"):
        call_command("restore", packed, stdout=io.StringIO())
        with default_storage.open("content/some") as stored:
            assert stored.read() == PAGE * 100


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
def test_a_backup_replaces_nothing_and_does_not_lie_with_what_it_is_of(settings, tmp_path, archive):
    for place, words in (
        (archive, "replaces nothing"),
        (settings.DATA_DIR / "mine.tar", "would be lost with it"),
        (settings.DATA_DIR, "would be lost with it"),
        (tmp_path / "nowhere" / "mine.tar", "is not there"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("backup", place, stdout=io.StringIO())


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
def test_a_backup_that_fails_leaves_nothing(settings, tmp_path, archive, monkeypatch):
    archive.unlink()

    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    # The disk: the one thing that a test cannot fill.
    monkeypatch.setattr("config.backup.archive.move_in", full)
    with pytest.raises(CommandError, match=r"No backup was made\..*No space left"):
        call_command("backup", tmp_path / "portal.tar", stdout=io.StringIO())
    assert [one.name for one in tmp_path.iterdir()] == ["old"]
