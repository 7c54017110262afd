"""Files that a run is given: closed outside every transaction, and swept where no run got them."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from agents.models import Function
from jobs.models import JobRun, RunInput
from jobs.tidying import tidy
from sites import files
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.people import API

pytestmark = pytest.mark.once

HOUR = 3600
DATA = b"a,b\n"
TOOL = {
    "name": "texts",
    "version": "1.0",
    "functions": [
        {
            "name": "read",
            "takes": ["text/*"],
            "parameters": {"properties": {"n": {"type": "integer"}}},
        }
    ],
}


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def reads(works: Organization, hall: Site, alice: User) -> Function:
    factories.enrolled(works, "reader", site=hall, by=alice, tools=[TOOL])
    return Function.objects.get(name="read")


def body(target: Target, function: Function, upload: object, **more: Any) -> dict[str, Any]:
    given = {
        "upload": str(upload),
        "name": "a.csv",
        "media_type": "text/csv",
        "size": len(DATA),
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }
    where = {"target": str(target.public_id), "function": str(function.public_id)}
    return where | {"inputs": [given]} | more


def stored(root: Path) -> list[Path]:
    return [path for path in (root / "inputs").rglob("*") if path.is_file()]


def age(root: Path, hours: int) -> None:
    for path in stored(root):
        then = time.time() - hours * HOUR
        os.utime(path, (then, then))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["", "k"])
@pytest.mark.parametrize("saved", [True, False])
def test_files_are_hashed_while_no_transaction_is_open(
    reads: Function,
    press: Target,
    edda: User,
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    saved: bool,
) -> None:
    """A file of gigabytes would hold the write lock, and the transaction past its time limit."""
    within: list[bool] = []
    close = files.close

    def watched(*args: Any, **more: Any) -> str:
        within.append(connection.in_atomic_block)
        return close(*args, **more)

    monkeypatch.setattr(files, "close", watched)
    api, upload = API(edda), uuid.uuid4()
    api.upload(upload, 0, DATA)
    headers = {"Idempotency_Key": key} if key else {}
    path, asked = "runs", body(press, reads, upload)
    if saved:
        path = f"jobs/{factories.job(press, reads, owner=edda).public_id}/run"
        asked = {"inputs": asked["inputs"]}
    first = api.post(path, asked, **headers)
    assert first.status_code == 201, first.content
    assert within == [False]
    if key:
        again = api.post(path, asked, **headers)
        assert (again.status_code, again.json()) == (201, first.json())
        assert within == [False]  # the answer is known: no file is looked at
    assert RunInput.objects.get().run == JobRun.objects.get()


@pytest.mark.django_db
def test_what_a_refused_start_left_goes_after_a_day(
    reads: Function, press: Target, edda: User, storage: Path
) -> None:
    api, upload, other = API(edda), uuid.uuid4(), uuid.uuid4()
    for one in (upload, other):
        api.upload(one, 0, DATA)
    assert api.post("runs", body(press, reads, upload)).status_code == 201
    refused = api.post("runs", body(press, reads, other, parameters={"n": "x"}))
    assert refused.status_code == 422
    assert len(stored(storage)) == 2
    age(storage, 23)
    tidy()
    assert len(stored(storage)) == 2
    age(storage, 25)
    tidy()
    tidy()
    (kept,) = stored(storage)
    assert default_storage.path(RunInput.objects.get().storage_name) == str(kept)


@pytest.mark.django_db
def test_a_start_that_is_mended_within_half_a_day_needs_no_upload(
    reads: Function, press: Target, edda: User, storage: Path
) -> None:
    api, upload = API(edda), uuid.uuid4()
    api.upload(upload, 0, DATA)
    wrong = body(press, reads, upload, parameters={"n": "x"})
    assert api.post("runs", wrong).status_code == 422
    age(storage, 13)  # from then on a sweep may come before the run
    late = api.post("runs", body(press, reads, upload))
    assert (late.status_code, late.json()["code"]) == (422, "nothing_staged")
    assert list(late.json()["errors"]) == ["inputs.0.upload"]
    age(storage, 11)
    assert api.post("runs", body(press, reads, upload)).status_code == 201
    age(storage, 13)
    api.upload(upload, 0, DATA)
    assert api.post("runs", body(press, reads, upload)).status_code == 201
    assert len(stored(storage)) == 1


@pytest.mark.django_db
def test_an_upload_of_which_nothing_came_says_so(
    reads: Function, press: Target, edda: User, storage: Path
) -> None:
    answer = API(edda).post("runs", body(press, reads, uuid.uuid4()))
    assert (answer.status_code, answer.json()["code"]) == (422, "nothing_staged")


@pytest.mark.django_db
def test_tidying_with_nothing_stored_is_no_failure(storage: Path) -> None:
    tidy()
    assert stored(storage) == []
