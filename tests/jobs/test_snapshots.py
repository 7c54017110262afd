"""What a backup's upload is answered, what the verdict is, which snapshot is accepted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from django.conf import settings

from jobs import results, sweeps
from jobs.models import JobRun
from sites import vault
from sites.models import Snapshot
from tests import factories
from tests.backups import back_up, entries_of, send
from tests.invariants import check_runs
from tests.jobs.passing import lease_over
from yardmaster.objects import blob_id, tree_id

pytestmark = pytest.mark.django_db
LINES, BYTES = "application/x-ndjson", "application/octet-stream"
FILES = {"main.st": b"A := 1;\n", "io/map.csv": b"1,2\n", "io/old.csv": b"x\n" * 30}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, settings):
    settings.VAULT_ROOT = tmp_path / "vault"
    settings.STAGING_ROOT = tmp_path / "staging"
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def start(agent, job, edda):
    """Begin a backup; gives what the agent holds."""

    def begin():
        factories.run(job, by=edda)
        [run] = agent.api.claim()
        assert agent.api.move(run, "running").status_code == 200
        return run

    return begin


def said(answer):
    return answer.status_code, answer.json()["code"]


def tree_of(files):
    return tree_id(entries_of(files))


def post(agent, run, path, body, kind="application/json"):
    return agent.api.post(agent.api.of(run, path), body, kind=kind)


def lines(files, **change):
    return b"".join(
        json.dumps(
            {"path": path, "mode": "100644", "size": len(data), "id": blob_id(data)} | change
        ).encode()
        + b"\n"
        for path, data in files.items()
    )


def frame(data):
    return bytes.fromhex(blob_id(data)) + len(data).to_bytes(4, "big") + data


def accepted(press):
    press.refresh_from_db()
    return press.accepted_snapshot


def test_the_first_backup_is_modified_and_accepted(agent, start, press):
    run = start()
    assert post(agent, run, "snapshot", {"tree": tree_of(FILES)}).json() == {
        "verdict": None,
        "base_tree": None,
        "commit": None,
    }
    answer = send(agent.api, run, FILES)
    assert answer["verdict"] == "modified"
    assert answer["base_commit"] is None
    assert answer["counts"] == {"added": 3, "modified": 0, "removed": 0, "renamed": 0}
    # Seal accepts nothing; the result does.
    assert accepted(press) is None
    assert agent.api.finish(run).json()["result"] == "modified"
    row = JobRun.objects.get()
    snapshot = accepted(press)
    assert (row.snapshot, row.base_snapshot, snapshot.base) == (snapshot, None, None)
    assert (snapshot.commit_id, snapshot.tree_id) == (answer["commit"], tree_of(FILES))
    assert (snapshot.files, snapshot.size, snapshot.added) == (3, 72, 3)
    assert snapshot.accepted_at is not None
    assert {entry.path for entry in vault.walk(press.public_id, snapshot.commit_id)} == set(FILES)
    check_runs(all_final=True)


def test_backups_in_a_row(agent, job, edda, press):
    """Modified, up to date, modified with exact counts; each knows what it was held against."""
    changed = {
        "main.st": b"A := 2;\n",
        "new.st": b"B := 1;\n",
        "io/renamed.csv": FILES["io/old.csv"],
    }

    def next_one(files):
        factories.run(job, by=edda)
        return JobRun.objects.get(public_id=back_up(agent.api, files)["id"])

    first, same, third, again = (next_one(files) for files in (FILES, FILES, changed, changed))
    assert [run.result for run in (first, same, third, again)] == [
        "modified",
        "up_to_date",
        "modified",
        "up_to_date",
    ]
    assert (same.base_snapshot, same.snapshot) == (first.snapshot, first.snapshot)
    assert (third.base_snapshot, again.base_snapshot) == (first.snapshot, third.snapshot)
    counts = third.snapshot
    assert (counts.added, counts.modified, counts.removed, counts.renamed) == (1, 1, 1, 1)
    assert Snapshot.objects.count() == 2
    assert accepted(press) == third.snapshot


def test_the_same_tree_is_up_to_date_at_once(agent, job, edda, start, press):
    factories.run(job, by=edda)
    back_up(agent.api, FILES)
    base = accepted(press)
    run = start()
    answer = post(agent, run, "snapshot", {"tree": base.tree_id})
    expected = {"verdict": "up_to_date", "base_tree": base.tree_id, "commit": base.commit_id}
    assert answer.json() == expected
    assert post(agent, run, "snapshot", {"tree": base.tree_id}).json() == expected
    assert agent.api.finish(run).json()["result"] == "up_to_date"
    assert Snapshot.objects.count() == 1
    assert accepted(press) == base


def test_the_portal_asks_only_for_what_it_lacks(agent, job, edda, start):
    factories.run(job, by=edda)
    back_up(agent.api, FILES)
    run = start()
    changed = FILES | {"main.st": b"A := 3;\n"}
    post(agent, run, "snapshot", {"tree": tree_of(changed)})
    answer = post(agent, run, "snapshot/manifest", lines(changed), LINES).json()
    assert answer == {"missing": [blob_id(b"A := 3;\n")], "missing_content": []}
    sent = post(agent, run, "snapshot/objects", frame(b"A := 3;\n"), BYTES)
    assert sent.json() == {"received": 1}
    again = post(agent, run, "snapshot/manifest", lines(changed), LINES).json()
    assert again == {"missing": [], "missing_content": []}


def test_a_seal_again_gives_the_same_answer(agent, start, press):
    run = start()
    answer = send(agent.api, run, FILES)
    for _ in range(2):
        again = post(agent, run, "snapshot/seal", {"tree": tree_of(FILES)})
        assert (again.status_code, again.json()) == (200, answer)
    assert Snapshot.objects.count() == 1
    assert len(vault.refs(press.public_id)) == 1
    assert said(post(agent, run, "snapshot/seal", {"tree": "1" * 40})) == (422, "tree_mismatch")
    assert said(post(agent, run, "snapshot", {"tree": "1" * 40})) == (422, "tree_mismatch")


def test_a_seal_before_all_has_come_says_what_is_missing(agent, start, press):
    run = start()
    tree = {"tree": tree_of(FILES)}
    assert said(post(agent, run, "snapshot/seal", tree)) == (422, "incomplete_snapshot")
    post(agent, run, "snapshot", tree)
    assert said(post(agent, run, "snapshot/seal", tree)) == (422, "incomplete_snapshot")
    post(agent, run, "snapshot/manifest", lines(FILES), LINES)
    post(agent, run, "snapshot/objects", frame(FILES["main.st"]), BYTES)
    answer = post(agent, run, "snapshot/seal", tree)
    assert said(answer) == (422, "incomplete_snapshot")
    assert set(answer.json()["missing"]) == {
        blob_id(FILES["io/map.csv"]),
        blob_id(FILES["io/old.csv"]),
    }
    assert not Snapshot.objects.exists()
    assert vault.refs(press.public_id) == {}
    row = JobRun.objects.get()
    assert (row.verdict, row.snapshot, row.base_snapshot) == ("", None, None)
    assert said(agent.api.finish(run)) == (409, "not_sealed")


def test_another_tree_than_the_manifests_is_refused(agent, start):
    run = start()
    post(agent, run, "snapshot", {"tree": "1" * 40})
    post(agent, run, "snapshot/manifest", lines(FILES), LINES)
    post(agent, run, "snapshot/objects", b"".join(map(frame, FILES.values())), BYTES)
    assert said(post(agent, run, "snapshot/seal", {"tree": "1" * 40})) == (422, "tree_mismatch")
    assert not Snapshot.objects.exists()


def test_without_auto_commit_the_accepted_snapshot_stays(agent, job, edda, press):
    factories.run(job, by=edda)
    back_up(agent.api, FILES)
    base = accepted(press)
    job.auto_commit = False
    job.save()
    changed = FILES | {"main.st": b"A := 2;\n"}
    for _ in range(2):
        factories.run(job, by=edda)
        run = JobRun.objects.get(public_id=back_up(agent.api, changed)["id"])
        # No change goes unseen: until an editor accepts it, it is a change.
        assert (run.result, run.base_snapshot) == ("modified", base)
        assert run.snapshot.accepted_at is None
        assert accepted(press) == base


# --- an agent that ends between seal and result --------------------------------------------------


@pytest.mark.parametrize("ending", ["falls silent", "fails", "is retired"])
def test_a_run_that_ends_otherwise_leaves_the_accepted_snapshot(
    works, agent, job, start, edda, alice, hall, press, ending
):
    from agents import enrolment

    factories.run(job, by=edda)
    back_up(agent.api, FILES)
    base = accepted(press)
    changed = FILES | {"main.st": b"A := 2;\n"}
    run = start()
    assert send(agent.api, run, changed)["verdict"] == "modified"
    who = agent
    if ending == "falls silent":
        lease_over(run)
        assert sweeps.sweep() == 1
    elif ending == "fails":
        agent.api.finish(run, "failed", reason="agent_restarted")
    else:
        enrolment.retire(agent.agent, by=alice)
        who = factories.enrolled(works, "next", site=hall, by=alice)
    assert accepted(press) == base
    factories.run(job, by=edda)
    later = JobRun.objects.get(public_id=back_up(who.api, changed)["id"])
    assert (later.result, later.base_snapshot) == ("modified", base)
    assert accepted(press) == later.snapshot
    check_runs(all_final=True)


def test_a_crash_between_the_ref_and_the_row_is_mended_by_the_same_seal(
    agent, start, press, monkeypatch
):
    """Rule 26: the pack and ref are there, the transaction was lost; the agent seals again."""
    run = start()

    def lost(*_args, **_more):
        raise OSError("power cut")

    with monkeypatch.context() as broken:
        broken.setattr(results, "judge", lost)
        with pytest.raises(AssertionError):
            send(agent.api, run, FILES)
    assert len(vault.refs(press.public_id)) == 1
    assert not Snapshot.objects.exists()
    again = post(agent, run, "snapshot/seal", {"tree": tree_of(FILES)})
    assert (again.status_code, again.json()["verdict"]) == (200, "modified")
    [(snapshot_id, commit)] = vault.refs(press.public_id).items()
    assert Snapshot.objects.get().public_id == snapshot_id
    assert again.json()["commit"] == commit


# --- unsafe and wrong ----------------------------------------------------------------------------

UNSAFE = [
    "/etc/passwd", "../x", "a/../x", "a//b", "", ".git/config", "a/.GIT/hooks/x", "a\nb", "a\x7fb",
    ".", "a/./b", "a/",
]  # fmt: skip


@pytest.mark.once
@pytest.mark.parametrize("path", UNSAFE)
def test_unsafe_paths_are_refused_and_nothing_is_written(agent, start, press, path):
    run = start()
    post(agent, run, "snapshot", {"tree": "1" * 40})
    before = sorted(file for file in Path(settings.VAULT_ROOT).rglob("*") if file.is_file())
    answer = post(agent, run, "snapshot/manifest", lines({"ok.txt": b"x", path: b"y"}), LINES)
    assert said(answer) == (422, "unsafe_path")
    after = sorted(file for file in Path(settings.VAULT_ROOT).rglob("*") if file.is_file())
    assert after == before


@pytest.mark.once
@pytest.mark.parametrize("aim", [b"/etc/passwd", b"../../x", b"a/../../x"])
def test_a_link_out_of_the_tree_is_refused_at_the_seal(agent, start, press, aim):
    from yardmaster.objects import LINK, Entry

    run = start()
    tree = tree_id([Entry("link", LINK, len(aim), blob_id(aim))])
    post(agent, run, "snapshot", {"tree": tree})
    post(agent, run, "snapshot/manifest", lines({"link": aim}, mode="120000"), LINES)
    post(agent, run, "snapshot/objects", frame(aim), BYTES)
    assert said(post(agent, run, "snapshot/seal", {"tree": tree})) == (422, "unsafe_path")
    assert vault.refs(press.public_id) == {}
    assert not Snapshot.objects.exists()


@pytest.mark.once
@pytest.mark.parametrize(
    "body",
    [
        b"not json\n",
        b'{"path": "a"}\n',
        b'["a"]\n',
        b"\xff\xfe\n",
        lines({"a": b"x"}) * 2,
        lines({"a": b"x", "a/b": b"y"}),
        lines({"a": b"x"}, mode="160000"),
        lines({"a": b"x"}, size=-1),
        lines({"a": b"x"}, size=9 * 2**20),
        lines({"a": b"x"}, id="x"),
        lines({"a": b"x"}, sha256="0" * 64),
        b'{"path": "' + b"a" * 40_000 + b'"}\n',
        b"[" * 100_000,
    ],
)
def test_a_bad_manifest_is_refused(agent, start, body):
    run = start()
    post(agent, run, "snapshot", {"tree": "1" * 40})
    answer = post(agent, run, "snapshot/manifest", body, LINES)
    assert said(answer) == (422, "invalid_manifest")
    assert said(post(agent, run, "snapshot/objects", frame(b"x"), BYTES)) == (
        422,
        "incomplete_snapshot",
    )


@pytest.mark.once
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (frame(b"nobody asked"), "invalid_objects"),
        (frame(FILES["main.st"])[:-1], "invalid_objects"),
        (frame(FILES["main.st"])[:10], "invalid_objects"),
        (frame(FILES["main.st"])[:24] + b"B := 1;\n", "hash_mismatch"),
        (bytes.fromhex(blob_id(b"x")) + b"\xff\xff\xff\xff" + b"x", "too_large"),
    ],
)
def test_bad_objects_are_refused(agent, start, body, code):
    run = start()
    post(agent, run, "snapshot", {"tree": tree_of(FILES)})
    post(agent, run, "snapshot/manifest", lines(FILES), LINES)
    answer = post(agent, run, "snapshot/objects", body, BYTES)
    assert said(answer) == (413 if code == "too_large" else 422, code)
    # What is right is taken afterwards.
    good = b"".join(map(frame, FILES.values()))
    assert post(agent, run, "snapshot/objects", good, BYTES).json() == {"received": 3}
    assert post(agent, run, "snapshot/seal", {"tree": tree_of(FILES)}).status_code == 200


def test_a_manifest_and_objects_have_a_largest_size(agent, start, monkeypatch):
    from jobs import snapshots

    run = start()
    post(agent, run, "snapshot", {"tree": tree_of(FILES)})
    monkeypatch.setattr(snapshots, "MANIFEST_LIMIT", 100)
    answer = post(agent, run, "snapshot/manifest", lines(FILES), LINES)
    assert said(answer) == (413, "too_large")
    monkeypatch.undo()
    post(agent, run, "snapshot/manifest", lines(FILES), LINES)
    monkeypatch.setattr(snapshots, "OBJECTS_LIMIT", 40)
    body = b"".join(map(frame, FILES.values()))
    assert said(post(agent, run, "snapshot/objects", body, BYTES)) == (413, "too_large")


def test_a_run_that_makes_no_snapshot_takes_none(agent, press, edda):
    from agents.models import Function
    from jobs.starts import start_function

    start_function(press, Function.objects.get(name="list"), by=edda)
    [run] = agent.api.claim()
    agent.api.move(run, "running")
    for path in ("snapshot", "snapshot/seal"):
        assert said(post(agent, run, path, {"tree": "1" * 40})) == (409, "no_snapshot")


# --- large files ---------------------------------------------------------------------------------


def test_a_large_file_goes_beside_git(agent, start, press):
    """Rule 27: a pointer in the tree, the bytes in file storage, uploaded in chunks."""
    data = b"0123456789abcdef" * (9 * 2**16)
    sha256 = hashlib.sha256(data).hexdigest()
    pointer = f"yardmaster large file v1\nsha256 {sha256}\nsize {len(data)}\n".encode()
    from yardmaster.objects import FILE, Entry

    entry = Entry("disk.img", FILE, len(data), blob_id(pointer))
    tree = tree_id([entry])
    run = start()
    post(agent, run, "snapshot", {"tree": tree})
    body = lines({"disk.img": data}, id=blob_id(pointer), sha256=sha256)
    assert post(agent, run, "snapshot/manifest", body, LINES).json() == {
        "missing": [],
        "missing_content": [sha256],
    }
    answer = post(agent, run, "snapshot/seal", {"tree": tree})
    assert (said(answer), answer.json()["missing_content"]) == (
        (422, "incomplete_snapshot"),
        [sha256],
    )

    def piece(offset):
        path = agent.api.of(run, f"snapshot/content/{sha256}?offset={offset}")
        return agent.api.put(path, data[offset : offset + 8 * 2**20], kind=BYTES)

    content = f"snapshot/content/{sha256}"
    assert piece(0).json() == {"length": 8 * 2**20}
    assert said(piece(0)) == (416, "offset_mismatch")
    assert said(post(agent, run, content, {"size": len(data)})) == (422, "hash_mismatch")
    piece(0)
    assert piece(8 * 2**20).json() == {"length": len(data)}
    assert post(agent, run, content, {"size": len(data)}).status_code == 201
    again = post(agent, run, content, {"size": len(data)})
    assert (again.status_code, again.json()) == (200, {"sha256": sha256, "size": len(data)})
    sealed = post(agent, run, "snapshot/seal", {"tree": tree})
    assert sealed.json()["verdict"] == "modified"
    assert agent.api.finish(run).status_code == 200
    snapshot = accepted(press)
    assert (snapshot.files, snapshot.size) == (1, len(data))
    stored = vault.entry(press.public_id, snapshot.commit_id, "disk.img")
    whole = b"".join(
        vault.stream(press.public_id, stored, organization_id=press.organization.public_id)
    )
    assert whole == data


def test_an_older_finding_does_not_step_the_accepted_snapshot_back(agent, job, edda, press):
    """Two runs at once (the job allows overlap): the one that ends last was held against less."""
    job.overlap = "allow"
    job.save()
    factories.run(job, by=edda)
    factories.run(job, by=edda)
    slow, quick = agent.api.claim(2)
    for run, text in ((slow, b"old\n"), (quick, b"new\n")):
        agent.api.move(run, "running")
        assert send(agent.api, run, {"main.st": text})["verdict"] == "modified"
    assert agent.api.finish(quick).status_code == 200
    assert agent.api.finish(slow).json()["result"] == "modified"
    found = JobRun.objects.get(public_id=quick["id"]).snapshot
    press.refresh_from_db()
    assert press.accepted_snapshot == found
