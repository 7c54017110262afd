"""A portal whose files lie in a bucket is backed up and put back, into another bucket too."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command

from config.storage_url import storage_at
from jobs.models import Job
from sites.models import User
from tests import factories
from tests.backups import leave_file
from tests.config.backup.houses import empty_database, move_house
from tests.factories import Enrolled
from tests.people import API
from tests.storages import Bucket, s3

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]
PAGE = b"<p>What the press said.</p>"
LARGE = b"L" * 9_000_000  # in several parts


@pytest.fixture
def bucket(settings: Any, tmp_path: Path) -> Iterator[Bucket]:
    move_house(settings, tmp_path / "old")
    with s3() as bucket:
        settings.STORAGES = settings.STORAGES | {"default": storage_at(bucket.url)}
        yield bucket


@pytest.fixture
def said(agent: Enrolled, job: Job, edda: User, bucket: Bucket) -> str:
    """A run that has left a file; the address of the file."""
    factories.run(job, by=edda)
    (held,) = agent.api.claim()
    agent.api.move(held, "running")
    leave_file(agent.api, held, uuid.uuid4(), "said.html", PAGE)
    agent.api.finish(held, "failed")
    default_storage.save("content/large", ContentFile(LARGE))
    (left,) = API(edda).get(f"runs/{held['id']}/files").json()["results"]
    return f"runs/{held['id']}/files/{left['id']}/content"


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_files_of_a_bucket_are_there_again(
    place: str, said: str, bucket: Bucket, edda: User, settings: Any, tmp_path: Path
) -> None:
    file = tmp_path / "portal.tar"
    call_command("backup", file)

    move_house(settings, tmp_path / "new")
    new = storage_at(bucket.url.replace("/portal?", "/moved?") if place == "bucket" else "")
    settings.STORAGES = settings.STORAGES | {"default": new}
    with empty_database(tmp_path / "new"):
        call_command("restore", file)
        with default_storage.open("content/large") as large:
            assert large.read() == LARGE
        answer = API(edda).get(said)
        if place == "bucket":
            # The bucket itself sends it.
            assert answer.status_code == 302
            assert "/moved/runs/" in answer.headers["Location"]
        else:
            assert b"".join(answer.streaming_content) == PAGE
    names = {name.partition("/")[0] for name in bucket.names()}
    assert names == ({"portal", "moved"} if place == "bucket" else {"portal"})


def test_a_bucket_that_does_not_answer_leaves_no_half_backup(
    said: str, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.fails = lambda asked: asked.startswith("GET") and "content/large" in asked
    file = tmp_path / "portal.tar"
    with pytest.raises(CommandError, match="The file storage does not answer"):
        call_command("backup", file)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
