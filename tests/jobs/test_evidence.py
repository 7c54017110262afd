"""What a run leaves at work: log, records, files, each piece once and without secrets."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from jobs import evidence, sweeps
from jobs.models import JobRun, RunFile, RunInput, RunLog, RunRecord
from tests import factories
from tests.invariants import check_files
from tests.jobs.passing import lease_over

pytestmark = [pytest.mark.django_db, pytest.mark.once]
BYTES = "application/octet-stream"
SECRET = 'geh"eim-äöü-123'


@pytest.fixture(autouse=True)
def own_folders(tmp_path, settings):
    settings.STAGING_ROOT = tmp_path / "staging"
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def claimed(agent, job, edda):
    job.parameters = {"password": SECRET}
    job.save()
    factories.run(job, by=edda)
    return agent.api.claim()[0]


@pytest.fixture
def held(agent, claimed):
    """A run at work, with a secret among its parameters."""
    agent.api.move(claimed, "running")
    return claimed


def said(answer):
    return answer.status_code, answer.json()["code"]


def log(agent, run, offset, text):
    return agent.api.post(agent.api.of(run, "log"), {"offset": offset, "text": text})


def stored_log():
    return evidence.log_of(JobRun.objects.get(), most=2**30)[0]


# --- log -----------------------------------------------------------------------------------------


def test_a_log_grows_by_pieces_counted_in_bytes(agent, held):
    assert log(agent, held, 0, "Müll\n").json() == {"length": 6}
    assert log(agent, held, 6, "").json() == {"length": 6}
    assert log(agent, held, 6, "und mehr\n").json() == {"length": 15}
    assert stored_log() == "Müll\nund mehr\n"
    assert JobRun.objects.get().log_length == 15


def test_the_same_piece_again_is_no_second_one(agent, held):
    log(agent, held, 0, "one\n")
    log(agent, held, 4, "two\n")
    assert log(agent, held, 0, "one\n").json() == {"length": 4}
    assert log(agent, held, 4, "two\n").json() == {"length": 8}
    assert stored_log() == "one\ntwo\n"


@pytest.mark.parametrize(("offset", "text"), [(3, "x"), (9, "x"), (0, "other"), (0, "onf\n")])
def test_another_offset_answers_where_to_go_on(agent, held, offset, text):
    log(agent, held, 0, "one\n")
    answer = log(agent, held, offset, text)
    assert said(answer) == (416, "offset_mismatch")
    assert answer.json()["length"] == 4
    assert stored_log() == "one\n"


def test_a_piece_is_at_most_256_kib(agent, held):
    assert log(agent, held, 0, "x" * 256 * 1024).status_code == 200
    assert said(log(agent, held, 256 * 1024, "x" * (256 * 1024 + 1))) == (422, "invalid")
    assert said(log(agent, held, 256 * 1024, "ä" * (128 * 1024 + 1))) == (422, "invalid")
    assert JobRun.objects.get().log_length == 256 * 1024


def test_no_secret_is_in_5_mb_of_log_wherever_the_pieces_end(agent, held):
    """Rule 21: also where a secret is cut in two, or in many, by the ends of pieces."""
    dice = random.Random(5)
    line = f"login with {SECRET} at 10.20.4.11: ok\n"
    text = line * (5_000_000 // len(line.encode()))
    sent = offset = 0
    while sent < len(text):
        # Most pieces are large; every few, some are cut to a handful of characters.
        size = dice.choice([230_000, 200_000, 1, 2, 3, 5, 8])
        piece = text[sent : sent + size]
        assert log(agent, held, offset, piece).status_code == 200
        sent += len(piece)
        offset += len(piece.encode())
    kept = stored_log()
    assert kept == text.replace(SECRET, "••••")
    assert SECRET not in kept
    assert JobRun.objects.get().log_length == offset
    # What is shown as JSON hides a secret no less.
    log(agent, held, offset, 'and as JSON "geh\\"eim-\\u00e4\\u00f6\\u00fc-123"\n')
    assert stored_log().endswith('and as JSON "••••"\n')


def test_a_log_without_secrets_is_kept_as_sent(agent, job, edda):
    factories.run(job, by=edda)
    [run] = agent.api.claim()
    agent.api.move(run, "running")
    log(agent, run, 0, "\x1b[31mred\x1b[0m <script>\r\n")
    assert stored_log() == "\x1b[31mred\x1b[0m <script>\r\n"


def test_a_log_is_read_in_parts(agent, held):
    for number in range(4):
        log(agent, held, number * 10, f"line {number:04}\n")
    run = JobRun.objects.get()
    text, following = evidence.log_of(run, most=20)
    assert (text, following) == ("line 0000\nline 0001\n", 20)
    assert evidence.log_of(run, offset=following)[0] == "line 0002\nline 0003\n"
    assert evidence.log_of(run, offset=40) == ("", 40)


# --- records -------------------------------------------------------------------------------------


def records(agent, run, rows):
    return agent.api.post(agent.api.of(run, "records"), {"records": rows})


def row(sequence, **more):
    return {"sequence": sequence, "status": "success"} | more


def test_a_record_is_stored_once_by_its_number(agent, held):
    assert records(agent, held, [row(1, name="4711"), row(2)]).json() == {"stored": 2}
    assert records(agent, held, [row(1, name="other"), row(2), row(3)]).json() == {"stored": 1}
    assert records(agent, held, []).json() == {"stored": 0}
    assert list(RunRecord.objects.values_list("sequence", "name")) == [
        (1, "4711"),
        (2, ""),
        (3, ""),
    ]


def test_ten_thousand_records_are_one_request_and_more_are_too_many(agent, held):
    rows = [row(number, status="failed", error="no such invoice") for number in range(10_000)]
    assert records(agent, held, rows).json() == {"stored": 10_000}
    assert said(records(agent, held, [*rows, row(10_000)])) == (422, "invalid")
    assert RunRecord.objects.count() == 10_000


def test_one_bad_record_refuses_them_all(agent, held):
    for bad in (
        row(-1),
        row(2**31),
        {"sequence": 1},
        row(1, status="completed"),
        row(1, name="x" * 301),
        row(1, processed_at="yesterday"),
        row(1, processed_at="0001-01-01T00:00:00+14:00"),
        row(1, processed_at="9999-12-31T23:59:59-14:00"),
        "x",
        None,
    ):
        assert said(records(agent, held, [row(0), bad])) == (422, "invalid"), bad
    assert not RunRecord.objects.exists()


def test_secrets_are_masked_in_records(agent, held):
    leak = dict.fromkeys(("record_id", "name", "result", "error"), f"<{SECRET}>")
    records(agent, held, [row(1, **leak)])
    kept = RunRecord.objects.values("record_id", "name", "result", "error").get()
    assert set(kept.values()) == {"<••••>"}


# --- files ---------------------------------------------------------------------------------------


def chunk(agent, run, file, offset, data):
    path = agent.api.of(run, f"files/{file}?offset={offset}")
    return agent.api.put(path, data, kind=BYTES)


def close(agent, run, file, data, **more):
    about = {
        "name": "report.csv",
        "media_type": "text/csv",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return agent.api.post(agent.api.of(run, f"files/{file}"), about | more)


def staged():
    return [path for path in Path(settings.STAGING_ROOT).rglob("*") if path.is_file()]


def test_a_file_comes_in_chunks_and_is_closed_with_its_hash(agent, held):
    data = bytes(range(256)) * 100
    file = uuid4()
    assert chunk(agent, held, file, 0, data[:20_000]).json() == {"length": 20_000}
    for offset in (0, 19_999, 20_001):
        answer = chunk(agent, held, file, offset, b"x")
        assert said(answer) == (416, "offset_mismatch")
        assert answer.json()["length"] == 20_000
    assert chunk(agent, held, file, 20_000, data[20_000:]).json() == {"length": len(data)}
    answer = close(agent, held, file, data)
    expected = {
        "id": str(file),
        "name": "report.csv",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert (answer.status_code, answer.json()) == (201, expected)
    again = close(agent, held, file, data)
    assert (again.status_code, again.json()) == (200, expected)
    assert check_files() == 1
    assert staged() == []


def test_other_content_under_the_same_id_is_a_conflict(agent, held):
    file = uuid4()
    chunk(agent, held, file, 0, b"one")
    close(agent, held, file, b"one")
    chunk(agent, held, file, 0, b"two")
    assert said(close(agent, held, file, b"two")) == (409, "upload_conflict")
    assert said(close(agent, held, file, b"one", size=4)) == (409, "upload_conflict")
    assert check_files() == 1


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 4}])
def test_bytes_that_do_not_match_are_refused_and_gone(agent, held, wrong):
    file = uuid4()
    chunk(agent, held, file, 0, b"one")
    assert said(close(agent, held, file, b"one", **wrong)) == (422, "hash_mismatch")
    assert staged() == []
    assert not RunFile.objects.exists()
    # Sent again from the beginning, it is taken.
    assert chunk(agent, held, file, 0, b"one").json() == {"length": 3}
    assert close(agent, held, file, b"one").status_code == 201
    assert check_files() == 1


def test_an_empty_file_needs_no_chunk(agent, held):
    assert close(agent, held, uuid4(), b"").status_code == 201
    assert check_files() == 1


def test_a_chunk_is_at_most_8_mib_and_leaves_nothing_when_it_is_more(agent, held):
    file = uuid4()
    assert said(chunk(agent, held, file, 0, b"x" * (8 * 2**20 + 1))) == (413, "too_large")
    assert sum(path.stat().st_size for path in staged()) == 0
    assert chunk(agent, held, file, 0, b"x" * 8 * 2**20).json() == {"length": 8 * 2**20}


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "a\nb", "", "x" * 256])
def test_a_file_has_a_plain_name(agent, held, name):
    file = uuid4()
    chunk(agent, held, file, 0, b"one")
    assert said(close(agent, held, file, b"one", name=name)) == (422, "invalid")
    assert not RunFile.objects.exists()


@pytest.mark.parametrize("offset", ["", "-1", "x", "1.5", "٣", "9" * 19, "0x1"])
def test_an_offset_is_a_number_of_bytes(agent, held, offset):
    assert said(chunk(agent, held, uuid4(), offset, b"x")) == (422, "invalid")


def test_the_same_id_in_another_run_is_another_file(works, agent, held, hall, backup, alice, edda):
    second = factories.job(factories.target(hall, "Line 2"), backup, owner=edda)
    factories.run(second, by=edda)
    [other] = agent.api.claim()
    agent.api.move(other, "running")
    file = uuid4()
    for run, data in ((held, b"one"), (other, b"two")):
        chunk(agent, run, file, 0, data)
        assert close(agent, run, file, data).status_code == 201
    assert check_files() == 2


# --- whose evidence ------------------------------------------------------------------------------


def doors(agent, run):
    """Each way to leave something, as (name, request)."""
    of = agent.api.of
    file = uuid4()
    return {
        "log": lambda: log(agent, run, 0, "x"),
        "records": lambda: records(agent, run, [row(1)]),
        "chunk": lambda: chunk(agent, run, file, 0, b"x"),
        "close": lambda: close(agent, run, file, b""),
        "snapshot": lambda: agent.api.post(of(run, "snapshot"), {"tree": "0" * 40}),
        "manifest": lambda: agent.api.post(
            of(run, "snapshot/manifest"), b"\n", kind="application/x-ndjson"
        ),
        "objects": lambda: agent.api.post(of(run, "snapshot/objects"), b"x", kind=BYTES),
        "content": lambda: agent.api.put(
            of(run, f"snapshot/content/{'0' * 64}?offset=0"), b"x", kind=BYTES
        ),
        "content close": lambda: agent.api.post(
            of(run, f"snapshot/content/{'0' * 64}"), {"size": 1}
        ),
        "seal": lambda: agent.api.post(of(run, "snapshot/seal"), {"tree": "0" * 40}),
    }


DOORS = [
    "log", "records", "chunk", "close", "snapshot", "manifest", "objects", "content",
    "content close", "seal",
]  # fmt: skip
STATES = {
    "claimed only": (409, "not_begun"),
    "back in the queue": (409, "stale_attempt"),
    "ended": (409, "already_final"),
    "another attempt": (409, "stale_attempt"),
    "of another agent": (404, "not_found"),
    "of another organization": (404, "not_found"),
    "nowhere": (404, "not_found"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("door", DOORS)
def test_only_the_attempt_at_work_leaves_anything(
    agent, claimed, works, elsewhere, alice, oscar, tmp_path, settings, state, door
):
    settings.VAULT_ROOT = tmp_path / "vault"
    run, who = claimed, agent
    if state == "back in the queue":
        lease_over(run)
        sweeps.sweep()
    elif state == "ended":
        agent.api.finish(run, "failed")
    elif state == "another attempt":
        run = claimed | {"attempt": 2}
    elif state == "of another agent":
        who = factories.enrolled(works, "rival", by=alice)
    elif state == "of another organization":
        who = factories.enrolled(elsewhere, "far", by=oscar)
    elif state == "nowhere":
        run = claimed | {"id": str(uuid4())}
    assert said(doors(who, run)[door]()) == STATES[state]
    assert [model.objects.count() for model in (RunLog, RunRecord, RunFile)] == [0, 0, 0]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- inputs --------------------------------------------------------------------------------------


def test_the_holder_reads_the_inputs_of_its_run(works, agent, claimed, alice):
    run = JobRun.objects.get()
    default_storage.save("inputs/one", ContentFile(b"a,b\n"))
    given = RunInput.objects.create(
        run=run,
        name="a.csv",
        media_type="text/csv",
        size=4,
        sha256="0" * 64,
        storage_name="inputs/one",
    )
    path = agent.api.of(claimed, f"inputs/{given.public_id}")
    answer = agent.api.get(path)
    assert (answer.status_code, b"".join(answer.streaming_content)) == (200, b"a,b\n")
    assert said(agent.api.get(agent.api.of(claimed, f"inputs/{uuid4()}"))) == (404, "not_found")
    rival = factories.enrolled(works, "rival", by=alice)
    assert said(rival.api.get(path)) == (404, "not_found")
    agent.api.finish(claimed, "failed")
    assert said(agent.api.get(path)) == (409, "already_final")
