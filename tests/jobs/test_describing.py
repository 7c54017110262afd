"""When a backup's message says what changed: where its job asks for it, and never at its cost."""

from __future__ import annotations

import re

import pytest

from agents.models import Function
from jobs import messages
from jobs.models import Job, JobRun
from sites.models import Snapshot, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.pages import html
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]

BEFORE = {"plc/main.st": b"limit : INT := 10;\n", "logo.png": b"\0\1", "old.txt": b"gone\n"}
AFTER = {"plc/main.st": b"limit : INT := 20;\n", "logo.png": b"\0\1\2", "access.txt": b"pin 4711\n"}


def changed(job: Job, agent: Enrolled, by: User, after: dict[str, bytes]) -> JobRun:
    """A backup, and another one that finds a change."""
    for files in (BEFORE, after):
        run = factories.run(job, by=by)
        back_up(agent.api, files)
    run.refresh_from_db()
    return run


def test_a_message_says_what_changed_where_the_job_asks_for_it(
    job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-13, S0-14: the row of the history unfolds to it, with secrets of the run hidden."""
    job.parameters = {"password": "4711"}
    job.describe_changes = True
    job.save()
    run = changed(job, agent, edda, AFTER)
    assert run.snapshot is not None
    assert run.snapshot.message == (
        "Change logo.png and main.st, add access.txt, remove old.txt\n"
        "\n"
        "logo.png: 2 bytes → 3 bytes\n"
        "plc/main.st: 1 line changed\n"
        "− limit : INT := 10;\n"
        "+ limit : INT := 20;\n"
        "access.txt: added, 1 line\n"
        "+ pin ••••\n"
        "old.txt: removed, 1 line"
    )
    page = html(edda, "/jobs/history")
    row = page[page.index(f'id="more-{run.public_id}"') :].split("</tr>")[0]
    assert '<b class="strong">Change ' in row
    assert "+ limit : INT := 20;" in row
    assert "4711" not in row
    first = Snapshot.objects.earliest("id")
    assert re.fullmatch(r"Backup of Press line 1, \d+ \w+ \d{4} \d\d:\d\d", first.message)


def test_it_has_to_be_activated(job: Job, agent: Enrolled, edda: User) -> None:
    """S0-14, domain rule 14: until then the subject is plain."""
    run = changed(job, agent, edda, AFTER)
    assert run.snapshot is not None
    assert run.snapshot.message.startswith("Backup of Press line 1, ")
    assert "\n" not in run.snapshot.message


def test_a_message_that_fails_fails_no_backup(
    job: Job, agent: Enrolled, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "message_of", lambda *_, **__: 1 / 0)
    job.describe_changes = True
    job.save()
    run = changed(job, agent, edda, AFTER)
    assert (run.status, run.result) == ("completed", "modified")
    assert run.snapshot is not None
    assert run.snapshot.message.startswith("Backup of Press line 1, ")


def test_large_files_are_told_unread(job: Job, agent: Enrolled, edda: User) -> None:
    job.describe_changes = True
    job.save()
    run = changed(job, agent, edda, BEFORE | {"big.txt": b"0123456789\n" * 30_000})
    assert run.snapshot is not None
    assert run.snapshot.message == "Add big.txt\n\nbig.txt: added, 330.0 kB"


def test_the_choice_is_made_on_the_job(job: Job, edda: User, backup: Function) -> None:
    """S0-14: in the form and in the API; off at first."""
    api, path = API(edda), f"jobs/{job.public_id}"
    assert api.get(path).json()["describe_changes"] is False
    changes = api.patch(path, {"describe_changes": True})
    assert changes.json()["describe_changes"] is True
    page = html(edda, f"/jobs/manage/{job.public_id}/edit")
    box = re.search(r"<input[^>]*name=\"describe_changes\"[^>]*>", page)
    assert box is not None
    assert "checked" in box[0]
    assert "Says what changed" in html(edda, f"/jobs/manage/{job.public_id}")
