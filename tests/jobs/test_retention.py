"""What an organization keeps no longer, and what never goes."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models.functions import Now

from agents.models import Function
from jobs import evidence, proposals, retention, starts, sweeps, tasks, transitions
from jobs.models import (
    Job,
    JobRun,
    Pruned,
    RunFile,
    RunInput,
    RunLog,
    RunRecord,
    StatusTransition,
)
from sites import ticks
from sites.models import Organization, Snapshot, User
from sites.problems import Refused
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.jobs.passing import lease_over
from tests.jobs.planned import occurred
from tests.pages import admin_path, as_, filled, html
from tests.people import API

pytestmark = pytest.mark.django_db


def aged(run: JobRun, days: float) -> JobRun:
    """Let a run have been made, and have ended if it has, so many days ago."""
    at = Now() - timedelta(days=days)
    JobRun.objects.filter(pk=run.pk).update(created_at=at)
    JobRun.objects.filter(pk=run.pk, finished_at__isnull=False).update(finished_at=at)
    run.refresh_from_db()
    return run


def ended_ago(job: Job, agent: Enrolled, by: User, *, days: float, failed: bool = True) -> JobRun:
    """A run that ended so many days ago; a failed one, or a backup that found the same."""
    run = factories.run(job, by=by)
    if failed:
        [held] = agent.api.claim()
        agent.api.move(held, "running")
        agent.api.finish(held, "failed")
    else:
        back_up(agent.api, {"a": b"1"})
    return aged(run, days)


def left(run: JobRun) -> JobRun:
    """Let a run have left a log, a file, a record, and have been given an input."""
    about = {"media_type": "text/plain", "size": 1, "sha256": "0" * 64}
    RunLog.objects.create(run=run, offset=0, size=4, sha256="0" * 64, text="one\n")
    JobRun.objects.filter(pk=run.pk).update(log_length=4)
    RunFile.objects.create(
        run=run, public_id=uuid.uuid4(), name="a.txt", storage_name=f"runs/x/{run.pk}", **about
    )
    RunInput.objects.create(run=run, name="in.txt", storage_name=f"inputs/{run.pk}", **about)
    RunRecord.objects.create(run=run, sequence=1, status="success")
    return run


def keeps(works: Organization, **days: int) -> None:
    Organization.objects.filter(pk=works.pk).update(
        **{f"keep_{name}_days": number for name, number in days.items()}
    )


ALL = {"runs": 30, "logs": 30, "files": 30}


def whole(run: JobRun) -> bool:
    """Whether a run is there with all that it left."""
    models: list[Any] = [RunLog, RunFile, RunInput, RunRecord, StatusTransition]
    return JobRun.objects.filter(pk=run.pk).exists() and all(
        model.objects.filter(run=run).exists() for model in models
    )


def test_logs_and_files_go_when_their_time_comes_and_the_page_says_so(
    job: Job, agent: Enrolled, works: Organization, edda: User, alice: User
) -> None:
    old, young = (left(ended_ago(job, agent, edda, days=days)) for days in (91, 89))
    keeps(works, logs=90)
    retention.prune()
    assert not RunLog.objects.filter(run=old).exists()
    assert RunFile.objects.filter(run=old).exists()
    assert whole(young)
    keeps(works, files=90)
    [tally] = retention.prune().values()
    assert str(tally) == "1 files, 1 inputs"
    assert not RunFile.objects.filter(run=old).exists()
    assert not RunInput.objects.filter(run=old).exists()
    # The run, its history and its records stay.
    assert RunRecord.objects.filter(run=old).exists()
    assert whole(young)
    summary = html(edda, f"/jobs/{old.public_id}")
    for what in ("The log was pruned", "The files were pruned", "The inputs were pruned"):
        assert what in summary
    assert "after 90 days" in summary
    assert "The log was pruned" in html(edda, f"/jobs/{old.public_id}?tab=log")
    log = API(edda).get(f"runs/{old.public_id}/log").json()
    assert (log["text"], log["next_offset"], log["length"]) == ("", 0, 0)
    assert "The files were pruned" in html(edda, f"/jobs/{old.public_id}?tab=files")
    assert "pruned" not in html(edda, f"/jobs/{young.public_id}")
    told = API(edda).get(f"runs/{old.public_id}").json()["pruned"]
    assert {(one["what"], one["after_days"]) for one in told} == {
        ("log", 90), ("files", 90), ("inputs", 90),
    }  # fmt: skip
    # What it was given is gone: its starter, who alone hears of that, cannot start the same again.
    with pytest.raises(Refused, match="kept no longer"):
        starts.retry(old, by=edda)
    assert "The inputs were pruned" not in html(alice, f"/jobs/{old.public_id}")
    told = API(alice).get(f"runs/{old.public_id}").json()["pruned"]
    assert [one["what"] for one in told] == ["files", "log"]
    again = starts.retry(old, by=alice).run
    assert again.started_by == alice
    assert not again.inputs.exists()
    transitions.cancel(again, by=alice)
    assert retention.prune() == {works: retention.Tally()}


def test_an_organization_that_fails_stops_no_other(
    job: Job, agent: Enrolled, works: Organization, elsewhere: Organization, edda: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    old = ended_ago(job, agent, edda, days=31)
    ended_ago(job, agent, edda, days=1)
    for one in (works, elsewhere):
        keeps(one, runs=30)
    real = retention._newest_good

    def fail(organization: Organization) -> set[int]:
        if organization == elsewhere:
            raise OperationalError("canceling statement due to statement timeout")
        return real(organization)

    monkeypatch.setattr(retention, "_newest_good", fail)
    said = io.StringIO()
    with pytest.raises(CommandError, match=f"Not pruned to the end: {elsewhere}"):
        call_command("prune", stdout=said)
    assert f"{works}: deleted 1 runs." in said.getvalue()
    assert f"{elsewhere}: deleted nothing." in said.getvalue()
    assert not JobRun.objects.filter(pk=old.pk).exists()
    with pytest.raises(retention.NotPruned):
        tasks.prune()
    assert "prune" not in ticks.ages()
    monkeypatch.undo()
    tasks.prune()
    assert "prune" in ticks.ages()


def test_a_run_that_went_a_moment_ago_is_not_started_again(
    job: Job, agent: Enrolled, works: Organization, edda: User
) -> None:
    old = ended_ago(job, agent, edda, days=31)
    ended_ago(job, agent, edda, days=1)
    keeps(works, runs=30)
    retention.prune()
    with pytest.raises(Refused, match="kept no longer") as refused:
        starts.retry(old, by=edda)
    assert (refused.value.status, refused.value.code) == (404, "gone")


def test_a_whole_run_goes_with_its_history_and_leaves_its_planned_start(
    job: Job, agent: Enrolled, works: Organization, edda: User
) -> None:
    old = left(ended_ago(job, agent, edda, days=31))
    again = ended_ago(job, agent, edda, days=2)
    JobRun.objects.filter(pk=again.pk).update(retry_of=old)
    start = occurred(job, datetime.now(UTC) - timedelta(days=31), run=old)
    keeps(works, runs=30)
    [tally] = retention.prune().values()
    assert str(tally) == "1 pieces of logs, 1 files, 1 inputs, 1 records, 1 runs"
    assert not JobRun.objects.filter(pk=old.pk).exists()
    assert not StatusTransition.objects.filter(run=old.pk).exists()
    again.refresh_from_db()
    assert again.retry_of is None
    start.refresh_from_db()
    assert start.outcome == "started"
    assert html(edda, "/jobs/planned")


def _active(job: Job, agent: Enrolled, edda: User) -> JobRun:
    run = factories.run(job, by=edda)
    [held] = agent.api.claim()
    agent.api.move(held, "running")
    return run


def _newest_good(job: Job, agent: Enrolled, edda: User) -> JobRun:
    run = ended_ago(job, agent, edda, days=400, failed=False)
    ended_ago(job, agent, edda, days=399)
    return run


def _newest_good_of_no_job(job: Job, agent: Enrolled, edda: User) -> JobRun:
    run = ended_ago(job, agent, edda, days=400, failed=False)
    JobRun.objects.filter(pk=run.pk).update(job=None)
    return run


def _newest_success(job: Job, agent: Enrolled, edda: User) -> JobRun:
    listing = factories.job(
        job.target, Function.objects.get(tool__name="folder", name="list"), owner=edda, name="List"
    )
    return _listed(listing, agent, edda)


def _listed(listing: Job, agent: Enrolled, by: User) -> JobRun:
    run = factories.run(listing, by=by)
    [held] = agent.api.claim()
    agent.api.move(held, "running")
    agent.api.finish(held)
    return run


def _pinned(job: Job, agent: Enrolled, edda: User) -> JobRun:
    run = ended_ago(job, agent, edda, days=400)
    retention.pin(run, by=edda)
    return run


def _proposed(job: Job, agent: Enrolled, edda: User) -> JobRun:
    Job.objects.filter(pk=job.pk).update(auto_commit=False)
    job.refresh_from_db()
    return ended_ago(job, agent, edda, days=400, failed=False)


def _to_be_retried(job: Job, agent: Enrolled, edda: User) -> JobRun:
    """Its job has been paused for long; its next try waits."""
    run = ended_ago(job, agent, edda, days=400)
    JobRun.objects.filter(pk=run.pk).update(retry_at=Now())
    return run


@pytest.mark.parametrize(
    "make",
    [
        _to_be_retried,
        _active,
        _newest_good,
        _newest_good_of_no_job,
        _newest_success,
        _pinned,
        _proposed,
    ],
)
def test_what_never_goes(
    make: Callable[[Job, Enrolled, User], JobRun],
    job: Job, agent: Enrolled, works: Organization, edda: User,
) -> None:  # fmt: skip
    """Whatever its age: a run at work, the newest good one, a pinned one, one that waits for a
    person; and each goes once that is over.
    """
    run = left(aged(make(job, agent, edda), 400))
    snapshot = run.snapshot
    keeps(works, **ALL)
    retention.prune()
    assert whole(run)
    assert snapshot is None or Snapshot.objects.filter(pk=snapshot.pk).exists()
    if make is _pinned:
        retention.unpin(run, by=edda)
    elif make is _to_be_retried:
        JobRun.objects.filter(pk=run.pk).update(retry_at=None)
    elif make is _proposed:
        proposals.reject(run, by=edda, comment="Nobody ordered it.")
    elif make is _newest_success:
        assert run.job is not None
        _listed(run.job, agent, edda)
    else:
        if make is _active:
            lease_over(JobRun.objects.get(pk=run.pk))
            assert sweeps.sweep() == 1
            aged(run, 400)
        ended_ago(job, agent, edda, days=1, failed=False)
    retention.prune()
    assert not JobRun.objects.filter(pk=run.pk).exists()


def test_a_snapshot_stays_while_a_run_or_its_target_names_it(
    job: Job, agent: Enrolled, works: Organization, edda: User
) -> None:
    found = []
    for number, days in enumerate((50, 40, 2)):
        run = factories.run(job, by=edda)
        back_up(agent.api, {"a": str(number).encode()})
        found.append(aged(run, days))
    first, second, third = (run.snapshot for run in found)
    keeps(works, runs=30)
    retention.prune()
    there = set(Snapshot.objects.values_list("pk", flat=True))
    # The second is what the third, which is kept, was compared with.
    assert there == {second.pk, third.pk}
    assert first.pk not in there
    JobRun.objects.filter(pk=found[2].pk).update(finished_at=Now() - timedelta(days=35))
    newest = factories.run(job, by=edda)
    back_up(agent.api, {"a": b"2"})
    aged(newest, 1)
    retention.prune()
    job.target.refresh_from_db()
    assert job.target.accepted_snapshot_id == third.pk
    assert set(Snapshot.objects.values_list("pk", flat=True)) == {third.pk}


def test_nothing_of_another_organization_is_touched(
    job: Job, agent: Enrolled, elsewhere: Organization, works: Organization, edda: User, oscar: User
) -> None:
    harbour = factories.site(elsewhere, "Quay")
    other = factories.enrolled(elsewhere, "quay-agent", site=harbour, by=oscar)
    function = Function.objects.get(organization=elsewhere, name="backup")
    theirs = factories.job(factories.target(harbour, "Crane"), function, owner=oscar)
    kept = left(ended_ago(theirs, other, oscar, days=400))
    gone = left(ended_ago(job, agent, edda, days=400))
    keeps(works, **ALL)
    assert retention.prune().keys() == {works}
    assert whole(kept)
    assert not JobRun.objects.filter(pk=gone.pk).exists()


def test_no_transaction_deletes_more_than_so_many_rows(
    job: Job, agent: Enrolled, works: Organization, edda: User
) -> None:
    run = ended_ago(job, agent, edda, days=400)
    RunLog.objects.bulk_create(
        RunLog(run=run, offset=n, size=1, sha256="0" * 64, text="x") for n in range(1_200)
    )
    for _ in range(60):
        ended_ago(job, agent, edda, days=400)
    keeps(works, **ALL)
    transactions = [0]

    def counting(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if statement.startswith("SAVEPOINT"):
            transactions.append(0)
        answer = execute(statement, params, many, context)
        if statement.startswith("DELETE"):
            transactions[-1] += context["cursor"].rowcount
        return answer

    with connection.execute_wrapper(counting):
        retention.prune()
    assert JobRun.objects.count() == 0
    assert sum(transactions) >= 1_200 + 61 * 4
    assert 400 < max(transactions) <= retention.ROWS
    assert len([number for number in transactions if number]) >= 4


def test_a_row_goes_before_its_file_and_the_sweep_takes_the_file(
    job: Job, agent: Enrolled, works: Organization, edda: User
) -> None:
    run = ended_ago(job, agent, edda, days=400)
    name = f"runs/{works.public_id}/{run.public_id}/{uuid.uuid4()}"
    default_storage.save(name, ContentFile(b"report"))
    RunFile.objects.create(
        run=run, public_id=uuid.uuid4(), name="a", media_type="text/plain", size=6,
        sha256="0" * 64, storage_name=name,
    )  # fmt: skip
    keeps(works, files=30)
    retention.prune()
    assert default_storage.exists(name)
    evidence.sweep(before=datetime.now(UTC) + timedelta(minutes=1))
    assert not default_storage.exists(name)


def test_the_command_says_first_what_it_would_do(
    job: Job, agent: Enrolled, works: Organization, edda: User
) -> None:
    def said(*more: str) -> str:
        out = io.StringIO()
        call_command("prune", *more, stdout=out)
        return out.getvalue()

    run = left(ended_ago(job, agent, edda, days=400))
    assert said() == "Every organization keeps everything for ever.\n"
    # What goes with its whole run is counted once.
    keeps(works, runs=30, logs=7, files=7)
    would = "1 pieces of logs, 1 files, 1 inputs, 1 records, 1 runs"
    assert said("--dry-run") == f"North Works: would delete {would}.\n"
    assert whole(run)
    assert said().splitlines()[1] == f"North Works: deleted {would}."
    assert not JobRun.objects.filter(pk=run.pk).exists()


@pytest.mark.once
def test_a_run_is_pinned_by_who_edits_its_job(
    job: Job, agent: Enrolled, edda: User, vera: User
) -> None:
    run = ended_ago(job, agent, edda, days=1)
    path = f"/jobs/{run.public_id}"
    assert "Unpin" not in html(edda, path)
    assert as_(edda).post(f"{path}/pin").status_code == 302
    shown = html(edda, path)
    assert "Unpin" in shown
    assert "kept whatever its age" in shown
    assert "Unpin" not in html(vera, path)
    assert API(vera).post(f"runs/{run.public_id}/unpin").status_code == 403
    answer = API(edda).post(f"runs/{run.public_id}/unpin")
    assert (answer.status_code, answer.json()["pinned_at"]) == (200, None)


@pytest.mark.once
def test_days_are_set_by_who_administers_the_organization(
    works: Organization, alice: User, manuel: User
) -> None:
    path = f"organizations/{works.public_id}"
    told = API(alice).patch(path, {"keep_logs_days": 90}).json()
    assert (told["keep_logs_days"], told["keep_runs_days"]) == (90, None)
    assert API(manuel).patch(path, {"keep_logs_days": 1}).status_code == 403
    for wrong in (0, -1, 1.5, "ever", 36501):
        assert API(alice).patch(path, {"keep_runs_days": wrong}).status_code == 422, wrong
    assert API(alice).patch(path, {"keep_logs_days": None}).json()["keep_logs_days"] is None
    page = admin_path(works, "change", works.pk)
    sent = filled(html(alice, page)) | {"keep_files_days": "30"}
    assert as_(alice).post(page, sent).status_code == 302
    works.refresh_from_db()
    assert works.keep_files_days == 30
    assert Pruned.objects.count() == 0
