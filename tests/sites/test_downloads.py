"""How stored files leave: as attachments that nothing opens, whole or the part asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import Http404
from django.test import RequestFactory

from sites.api.downloads import download_stored

pytestmark = pytest.mark.once
DATA = bytes(range(256)) * 600


def get(name: str, **headers: str) -> Any:
    request = RequestFactory().get("/", headers=headers)
    return download_stored(request, name, name='in"voice ü.svg')


def body(answer: Any) -> bytes:
    sent = b"".join(answer.streaming_content)
    answer.close()
    return sent


@pytest.fixture
def stored(storage_folders: Path) -> str:
    return default_storage.save("runs/a", ContentFile(DATA))


def test_a_file_is_an_attachment_that_no_browser_runs(stored: str) -> None:
    answer = get(stored)
    assert answer.status_code == 200
    assert body(answer) == DATA
    assert answer["Content-Length"] == str(len(DATA))
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment; ")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100000-", 100_000, 153_600),
        ("bytes=70000-140000", 70_000, 140_001),
        ("bytes=153599-999999", 153_599, 153_600),
        ("bytes=-10", 153_590, 153_600),
    ],
)
def test_a_download_that_broke_off_goes_on(stored: str, asked: str, start: int, stop: int) -> None:
    answer = get(stored, Range=asked)
    assert answer.status_code == 206
    assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/153600"
    assert answer["Content-Length"] == str(stop - start)
    assert body(answer) == DATA[start:stop]


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=9-3", "lines=1-2", "bytes=0-1,4-5", "x"])
def test_what_is_no_range_is_passed_over(stored: str, asked: str) -> None:
    answer = get(stored, Range=asked)
    assert (answer.status_code, body(answer)) == (200, DATA)


def test_a_range_of_a_file_that_may_have_changed_is_all_of_it(stored: str) -> None:
    answer = get(stored, Range="bytes=5-9", If_Range='"tag"')
    assert (answer.status_code, body(answer)) == (200, DATA)


@pytest.mark.parametrize("asked", ["bytes=153600-", "bytes=-0"])
def test_a_range_behind_the_end_is_told_where_that_is(stored: str, asked: str) -> None:
    answer = get(stored, Range=asked)
    assert answer.status_code == 416
    assert answer["Content-Range"] == "bytes */153600"


def test_an_empty_file_is_sent(storage_folders: Path) -> None:
    name = default_storage.save("runs/empty", ContentFile(b""))
    answer = get(name)
    assert (answer.status_code, body(answer)) == (200, b"")


def test_a_file_that_the_storage_has_lost_is_not_there(storage_folders: Path) -> None:
    with pytest.raises(Http404):
        get("runs/lost")
