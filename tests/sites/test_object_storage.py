"""Files in a bucket: moto's S3 asked by the real boto3; it fails, stalls and recovers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from config.storage_url import storage_at
from jobs import inputs, tidying
from jobs.models import JobRun, RunFile, RunInput
from sites import files, storage, vault
from sites.object_storage import ObjectStorage
from tests import factories
from tests.people import API
from tests.sites.sender import Device, Large
from tests.storages import BUCKET, Bucket, s3

pytestmark = pytest.mark.once
BYTES = "application/octet-stream"
DATA = b"<script>alert(1)</script>\n" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def served() -> Iterator[Bucket]:
    with s3() as bucket:
        yield bucket


@pytest.fixture
def bucket(served: Bucket, settings: Any, tmp_path: Path) -> Iterator[Bucket]:
    """An empty bucket that is the portal's storage; staging and vault stay on the local disk."""
    settings.STAGING_ROOT = tmp_path / "staging"
    settings.VAULT_ROOT = tmp_path / "vault"
    settings.STORAGES = settings.STORAGES | {"default": storage_at(served.url)}
    yield served
    served.well()
    served.empty()


def send(agent: factories.Enrolled, run: dict[str, Any], file: object) -> Any:
    """Upload and close a file of the run, from what is staged on."""
    place = agent.api.of(run, f"files/{file}")
    agent.api.put(f"{place}?offset=0", DATA, kind=BYTES)
    return agent.api.post(
        place, {"name": "a.html", "media_type": "text/html", "size": len(DATA), "sha256": SHA256}
    )


# --- the storage itself --------------------------------------------------------------------------


def test_a_file_is_stored_read_listed_and_removed(bucket: Bucket) -> None:
    assert default_storage.save("runs/a/b", ContentFile(DATA)) == "runs/a/b"
    assert default_storage.save("runs/a/b", ContentFile(DATA + b"!")) == "runs/a/b"
    assert bucket.names() == ["portal/runs/a/b"]
    with default_storage.open("runs/a/b") as file:
        assert file.size == len(DATA) + 1
        assert b"".join(file.chunks(1000)) == DATA + b"!"
    default_storage.save("runs/c", ContentFile(b""))
    default_storage.save("runs-of-others/c", ContentFile(b"x"))
    (first, second) = storage.stored_below("runs")
    assert (first.name, first.size) == ("runs/a/b", len(DATA) + 1)
    assert (second.name, second.size) == ("runs/c", 0)
    assert abs(first.modified - datetime.now(UTC)) < timedelta(minutes=1)
    default_storage.delete("runs/a/b")
    default_storage.delete("runs/a/b")
    assert not default_storage.exists("runs/a/b")
    for ask in (default_storage.open, default_storage.size, default_storage.get_modified_time):
        with pytest.raises(FileNotFoundError):
            ask("runs/a/b")


def test_a_large_upload_goes_in_parts_and_what_a_killed_one_left_is_swept(bucket: Bucket) -> None:
    data = b"0123456789abcdef" * (17 * 2**16)  # 17 MiB
    upload, digest = uuid4(), hashlib.sha256(data).hexdigest()
    for offset in range(0, len(data), 8 * 2**20):
        piece = io.BytesIO(data[offset : offset + 8 * 2**20])
        files.append("run-1", upload, offset, piece, limit=8 * 2**20, max_size=2**30)
    bucket.asked.clear()
    assert files.close("run-1", upload, name="runs/x", size=len(data), sha256=digest) == "runs/x"
    assert sum("partNumber" in asked for asked in bucket.asked) == 2
    assert files.length("run-1", upload) == 0
    # The same close again, its answer lost: the stored bytes are read and held against the hash.
    assert files.close("run-1", upload, name="runs/x", size=len(data), sha256=digest) == "runs/x"
    bucket.client.create_multipart_upload(Bucket=BUCKET, Key="portal/runs/y")
    # This S3 says of each that it was begun in 2010.
    assert storage.sweep_unfinished(before=datetime(2010, 1, 1, tzinfo=UTC)) == 0
    assert storage.sweep_unfinished(before=datetime(2011, 1, 1, tzinfo=UTC)) == 1
    assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=BUCKET)


def test_a_listing_is_read_page_by_page(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectStorage, "page_size", 2)
    names = [default_storage.save(f"inputs/{number}", ContentFile(b"")) for number in range(5)]
    bucket.asked.clear()
    assert [one.name for one in storage.stored_below("inputs")] == names
    assert len(bucket.asked) == 3


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/bucket",
        "s3://host",
        "s3://host/bucket?region=a&reigon=b",
        "s3://host/bucket?tls=maybe",
        "s3://host/bucket?timeout=0",
    ],
)
def test_an_address_that_means_nothing_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="STORAGE_URL"):
        storage_at(url)


def test_an_address_without_host_is_amazons_with_the_keys_of_the_environment() -> None:
    options = storage_at("s3:///files?region=eu-central-1")["OPTIONS"]
    assert options["bucket_name"] == "files"
    assert options.keys().isdisjoint({"endpoint_url", "access_key", "secret_key"})
    chosen = storage_at("s3://a:b%2Fc@files.example:9000/f/p/q?downloads=portal")["OPTIONS"]
    assert chosen["endpoint_url"] == "https://files.example:9000"
    assert (chosen["secret_key"], chosen["location"]) == ("b/c", "p/q")
    assert not chosen["presigned"]


# --- through the portal's doors ------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("ill", ["fails", "stalls"])
def test_a_storage_that_is_ill_is_503_without_a_row_and_the_retry_succeeds(
    bucket: Bucket, agent: factories.Enrolled, held: dict[str, Any], ill: str
) -> None:
    file = uuid4()
    setattr(bucket, ill, lambda asked: asked.startswith("PUT"))
    refused = send(agent, held, file)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused["Retry-After"]) > 0
    assert not RunFile.objects.exists()
    assert bucket.names() == []
    bucket.well()
    # Nothing has to be sent again: the bytes wait on the portal's own disk.
    bodies = {"name": "a.html", "media_type": "text/html", "size": len(DATA), "sha256": SHA256}
    place = agent.api.of(held, f"files/{file}")
    assert agent.api.post(place, bodies).status_code == 201
    assert bucket.names() == [f"portal/{RunFile.objects.get().storage_name}"]


@pytest.mark.django_db
def test_a_storage_that_refuses_the_keys_is_503_too(
    bucket: Bucket, settings: Any, agent: factories.Enrolled, held: dict[str, Any]
) -> None:
    wrong = storage_at(bucket.url.replace(BUCKET, "another-bucket"))
    settings.STORAGES = settings.STORAGES | {"default": wrong}
    assert send(agent, held, uuid4()).status_code == 503
    assert not RunFile.objects.exists()


@pytest.mark.django_db
def test_people_are_given_the_files_address_and_it_is_a_download(
    bucket: Bucket, agent: factories.Enrolled, held: dict[str, Any], edda: Any, client: Any
) -> None:
    file = uuid4()
    assert send(agent, held, file).status_code == 201
    answer = API(edda).get(f"runs/{held['id']}/files/{file}/content")
    client.force_login(edda)
    page = client.get(f"/jobs/{held['id']}/files/{file}")
    for sent in (answer, page):
        assert sent.status_code == 302
        assert "no-store" in sent["Cache-Control"]
        found = httpx.get(sent["Location"])
        assert (found.status_code, found.content) == (200, DATA)
        assert found.headers["Content-Type"] == BYTES
        assert found.headers["Content-Disposition"] == 'attachment; filename="a.html"'
        assert "X-Amz-Expires=60" in sent["Location"]


@pytest.mark.django_db
def test_the_portal_sends_files_itself_where_it_is_told_to(
    bucket: Bucket,
    settings: Any,
    agent: factories.Enrolled,
    held: dict[str, Any],
    edda: Any,
    client: Any,
) -> None:
    through = storage_at(f"{bucket.url}&downloads=portal")
    settings.STORAGES = settings.STORAGES | {"default": through}
    file = uuid4()
    send(agent, held, file)
    sent = API(edda).get(f"runs/{held['id']}/files/{file}/content")
    assert sent.status_code == 200
    assert b"".join(sent.streaming_content) == DATA
    assert sent["Content-Length"] == str(len(DATA))
    assert sent["Content-Security-Policy"] == "sandbox; default-src 'none'"
    bucket.fails = lambda asked: asked.startswith("GET")
    assert API(edda).get(f"runs/{held['id']}/files/{file}/content").status_code == 503
    client.force_login(edda)
    page = client.get(f"/jobs/{held['id']}/files/{file}")
    assert (page.status_code, page["Retry-After"]) == (503, "5")
    assert "does not answer" in page.content.decode()


@pytest.mark.django_db
def test_an_agent_reads_its_inputs_from_the_portal_alone(
    bucket: Bucket, agent: factories.Enrolled, held: dict[str, Any]
) -> None:
    name = default_storage.save("inputs/one", ContentFile(DATA))
    given = RunInput.objects.create(
        run=JobRun.objects.get(), name="a", size=len(DATA), sha256=SHA256, storage_name=name
    )
    sent = agent.api.get(agent.api.of(held, f"inputs/{given.public_id}"))
    assert sent.status_code == 200
    assert b"".join(sent.streaming_content) == DATA


def test_large_content_of_a_snapshot_is_kept_read_and_swept(
    bucket: Bucket, settings: Any, tmp_path: Path
) -> None:
    device = Device(tmp_path)
    kept, lost = Large(b"k" * (9 * 2**20)), Large(b"l" * (9 * 2**20))
    device.files = {"kept.bin": kept, "lost.bin": lost}
    first = uuid4()
    device.back_up(first)
    del device.files["lost.bin"]
    sealed = device.back_up()
    entry = vault.entry(device.target, sealed.commit_id, "kept.bin")
    pieces = vault.stream(device.target, entry, organization_id=device.organization)
    assert b"".join(pieces) == kept.data
    vault.delete_snapshots(device.target, [first])
    now = datetime.now(UTC)
    swept = [
        vault.sweep_content(device.organization, [device.target], before=now + timedelta(days=days))
        for days in (-1, 1)
    ]
    assert swept == [0, 1]
    (name,) = bucket.names()
    assert name.endswith(kept.pointer.sha256)


@pytest.mark.django_db
def test_orphans_go_when_they_are_a_day_old_by_the_storages_own_clock(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    default_storage.save("inputs/a/b/lost", ContentFile(b"x"))
    assert inputs.sweep() == 0
    monkeypatch.setattr(inputs, "KEPT_FOR", timedelta(days=-1))
    bucket.fails = lambda asked: asked.startswith("GET")
    with pytest.raises(storage.StorageUnavailable):
        tidying.tidy()
    bucket.well()
    tidying.tidy()
    assert bucket.names() == []
