"""What an organization may keep in file storage: refused over it, and counted at any moment."""

from __future__ import annotations

import hashlib
import random
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection

from jobs import tidying
from jobs.models import Job, RunFile
from sites import quota, vault
from sites.models import Organization, Snapshot, StoredFile, User
from sites.problems import Refused
from tests import backups, factories
from tests.people import API
from tests.sites.sender import Large
from yardmaster.objects import tree_id

MB = 1024 * 1024
BYTES = "application/octet-stream"


@pytest.fixture(autouse=True)
def own_folders(storage_folders: Path) -> None:
    """Nothing is stored outside of the test's own folder."""


@pytest.fixture
def narrow(works: Organization) -> Organization:
    """North Works, with a limit of one megabyte."""
    works.storage_limit_mb = 1
    works.save()
    return works


def used(organization: Organization) -> int:
    return quota.used_by(Organization.objects.get(pk=organization.pk))


def send(agent: factories.Enrolled, run: dict[str, Any], data: bytes) -> Any:
    place = agent.api.of(run, f"files/{uuid4()}")
    piece = agent.api.put(f"{place}?offset=0", data, kind=BYTES)
    if piece.status_code != 200:
        return piece
    sha256 = hashlib.sha256(data).hexdigest()
    about = {"name": "a", "media_type": BYTES, "size": len(data), "sha256": sha256}
    closed = agent.api.post(place, about)
    assert agent.api.post(place, about).status_code == 200  # again: counted once
    return closed


def waiting() -> list[Path]:
    """What lies on disk of backups that are no snapshots yet."""
    quarantines = Path(settings.VAULT_ROOT, "quarantine")
    return [*quarantines.glob("*"), *Path(settings.STAGING_ROOT).rglob("*.part")]


def noise(seed: int) -> bytes:
    """Bytes that no packing makes fewer."""
    return random.Random(seed).randbytes(300_000)


@pytest.mark.django_db
def test_files_of_runs_are_counted_and_refused_over_the_limit_before_they_are_taken(
    narrow: Organization, agent: factories.Enrolled, held: dict[str, Any], alice: User, mia: User
) -> None:
    assert send(agent, held, b"x" * 700_000).status_code == 201
    assert used(narrow) == 700_000
    refused = send(agent, held, b"y" * 400_000)
    assert (refused.status_code, refused.json()["code"]) == (422, "quota_exceeded")
    assert refused.json()["detail"].startswith("North Works keeps 683.6 KB of the 1.0 MB")
    assert RunFile.objects.count() == 1
    # The rest of it may be used.
    assert send(agent, held, b"z" * (MB - 700_000)).status_code == 201
    mine = API(mia).get("me").json()["organizations"][0]
    assert (mine["storage_used"], mine["storage_limit"]) == (MB, MB)


@pytest.mark.django_db
def test_a_person_sends_nothing_that_has_no_room(
    narrow: Organization, edda: User, settings: Any
) -> None:
    quota.count_in(narrow.pk, f"content/{narrow.public_id}/a", MB)
    answer = API(edda).upload(uuid4(), 0, b"x")
    assert (answer.status_code, answer.json()["code"]) == (422, "quota_exceeded")
    narrow.storage_limit_mb = 0  # none, whatever the installation's is
    narrow.save()
    settings.STORAGE_LIMIT_MB = 1
    assert API(edda).upload(uuid4(), 0, b"x").status_code == 200


@pytest.mark.django_db
def test_large_content_is_counted_once_for_an_organization(
    works: Organization, agent: factories.Enrolled, held: dict[str, Any]
) -> None:
    film = Large(b"f" * (9 * MB))
    place = agent.api.of(held, f"snapshot/content/{film.pointer.sha256}")
    agent.api.post(agent.api.of(held, "snapshot"), {"tree": "0" * 40})
    for offset in (0, 8 * MB):
        agent.api.put(f"{place}?offset={offset}", film.data[offset : offset + 8 * MB], kind=BYTES)
    assert agent.api.post(place, {"size": 9 * MB}).status_code == 201
    assert agent.api.post(place, {"size": 9 * MB}).status_code == 200
    assert used(works) == 9 * MB
    other = agent.api.of(held, f"snapshot/content/{hashlib.sha256(b'other').hexdigest()}")
    assert agent.api.put(f"{other}?offset=0", b"ot", kind=BYTES).status_code == 200
    works.storage_limit_mb = 9
    works.save()
    refused = agent.api.put(f"{other}?offset=2", b"her", kind=BYTES)
    assert (refused.status_code, refused.json()["code"]) == (422, "quota_exceeded")
    assert waiting() == []
    # What is there already takes no room, whoever sends it.
    assert agent.api.put(f"{place}?offset=0", b"f", kind=BYTES).status_code == 200


@pytest.mark.django_db
def test_what_git_holds_of_snapshots_is_counted_as_it_is_after_each_of_them(
    works: Organization, job: Job, agent: factories.Enrolled, alice: User
) -> None:
    def backed_up(files: dict[str, bytes]) -> int:
        factories.run(job, by=alice)
        backups.back_up(agent.api, files)
        packs = list(Path(settings.VAULT_ROOT).glob("*/*.git/objects/pack/*"))
        assert used(works) == sum(file.stat().st_size for file in packs)
        return used(works)

    first = backed_up({"a": noise(1)})
    assert first > 300_000
    assert backed_up({"a": noise(1)}) == first  # up to date: nothing came
    assert backed_up({"a": noise(1), "b": noise(2)}) > first + 300_000
    # Counted again at night, as after snapshots have gone.
    vault.drop_vault(job.target.public_id)
    tidying.tidy_storage()
    packs = StoredFile.objects.filter(name__startswith="packs/")
    assert [one.size for one in packs] == [0]


@pytest.mark.django_db
def test_a_backup_that_has_no_room_once_it_is_packed_is_refused_at_its_seal(
    narrow: Organization, job: Job, agent: factories.Enrolled, alice: User
) -> None:
    before = used(narrow)
    run = backups.begun(job, agent, by=alice)
    files = {f"{number}": noise(number) for number in range(4)}  # each of them would fit
    with pytest.raises(AssertionError, match="quota_exceeded"):
        backups.send(agent.api, run, files)
    assert (Snapshot.objects.exists(), used(narrow), waiting()) == (False, before, [])
    # The same seal again, as after a lost answer, says where to begin anew; so it can be mended.
    tree = {"tree": tree_id(backups.entries_of(files))}
    again = agent.api.post(agent.api.of(run, "snapshot/seal"), tree).json()
    assert (again["code"], again["missing"]) == ("incomplete_snapshot", [])
    assert "there was no room for it" in again["detail"]
    Organization.objects.update(storage_limit_mb=2)
    assert backups.send(agent.api, run, files)["verdict"] == "modified"
    agent.api.finish(run)
    factories.run(job, by=alice)
    packed = backups.back_up(agent.api, {"text": b"a line like all others\n" * 100_000})
    assert API(alice).get(f"runs/{packed['id']}").json()["result"] == "modified"


@pytest.mark.django_db
def test_over_the_limit_a_backup_that_brings_nothing_new_is_taken_and_no_other(
    narrow: Organization, job: Job, agent: factories.Enrolled, alice: User
) -> None:
    factories.run(job, by=alice)
    backups.back_up(agent.api, {"a": noise(1), "b": noise(2)})
    quota.count_as(narrow.pk, "packs/another", lambda: MB)
    factories.run(job, by=alice)
    fewer = backups.back_up(agent.api, {"a": noise(1)})
    assert API(alice).get(f"runs/{fewer['id']}").json()["result"] == "modified"
    run = backups.begun(job, agent, by=alice)
    with pytest.raises(AssertionError, match=r"quota_exceeded.*nothing more is taken until"):
        backups.send(agent.api, run, {"new": b"new"})
    assert Snapshot.objects.count() == 2


@pytest.mark.django_db
def test_a_backup_that_is_refused_at_its_list_leaves_nothing_of_what_it_had_sent(
    narrow: Organization, held: dict[str, Any], agent: factories.Enrolled
) -> None:
    files = {"a": b"one", "b": b"two"}
    assert backups.send_list(agent.api, held, files).status_code == 200
    assert backups.send_objects(agent.api, held, [b"one"]).status_code == 200
    assert waiting() != []
    quota.count_as(narrow.pk, "packs/another", lambda: MB + 1)
    for _ in range(2):
        listed = backups.send_list(agent.api, held, files)
        assert (listed.status_code, listed.json()["code"]) == (422, "quota_exceeded")
        assert waiting() == []
    late = backups.send_objects(agent.api, held, [b"two"])
    assert (late.status_code, late.json()["code"]) == (422, "incomplete_snapshot")
    assert waiting() == []


@pytest.mark.django_db
def test_what_is_swept_at_night_is_counted_no_more_and_what_was_not_counted_is(
    works: Organization,
    agent: factories.Enrolled,
    held: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert send(agent, held, b"kept").status_code == 201
    StoredFile.objects.all().delete()  # stored before there were counts
    orphan = f"runs/{works.public_id}/{uuid4()}/{uuid4()}"
    of_run_at_work = f"runs/{works.public_id}/{held['id']}/{uuid4()}"
    content = f"content/{works.public_id}/aa/{'a' * 64}"
    for name in (orphan, of_run_at_work, content):
        quota.count_in(works.pk, default_storage.save(name, ContentFile(b"123")), 3)
    tidying.tidy_storage()
    assert used(works) == 4 + 9  # too young to be swept
    for limit in ("STAGED_FOR", "CONTENT_FOR"):
        monkeypatch.setattr(tidying, limit, timedelta(days=-1))
    tidying.tidy_storage()
    assert [default_storage.exists(name) for name in (orphan, of_run_at_work, content)] == [
        False,
        True,
        False,
    ]
    assert used(works) == 4 + 3
    # The run has ended without it.
    agent.api.finish(held, "failed")
    tidying.tidy_storage()
    assert used(works) == 4


@pytest.mark.django_db(transaction=True)
def test_the_count_is_right_however_many_come_and_go_at_once(narrow: Organization) -> None:
    size, refused = MB // 8, []

    def work(number: int) -> None:
        try:
            for file in range(4):
                try:
                    quota.count_in(narrow.pk, f"runs/{number}/{file}", size)
                except Refused:
                    refused.append((number, file))
            quota.count_out([f"runs/{number}/0"])
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = StoredFile.objects.count()
    assert used(narrow) == kept * size <= MB
    assert len(refused) >= 16 - 8 - 4
    quota.recount([])
    assert used(narrow) == kept * size


@pytest.mark.django_db
def test_the_limit_is_set_by_who_runs_the_portal_and_read_by_the_administrator(
    narrow: Organization, alice: User, root: User, client: Any
) -> None:
    quota.count_in(narrow.pk, f"content/{narrow.public_id}/a", 1000)
    address = f"/admin/sites/organization/{narrow.pk}/change/"
    for person, may in ((alice, False), (root, True)):
        client.force_login(person)
        page = client.get(address).content.decode()
        assert "1000 bytes of 1.0" in page.replace("\xa0", " ").replace("&nbsp;", " ")
        assert ('name="storage_limit_mb"' in page) is may
