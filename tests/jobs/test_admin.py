"""The admin of jobs and runs: runs are read, jobs go through rules, inputs have no page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib import admin
from django.urls import reverse

from agents.models import Function
from jobs.models import Job, JobRun, RunInput, RunLog, StatusTransition
from jobs.starts import start_run
from jobs.states import Status
from sites.access.lists import CappedPaginator
from sites.models import Site, Target, User
from tests import factories
from tests.pages import as_

# Doors and templates: the rules behind them are tested on both databases.
pytestmark = pytest.mark.once

RUN_PAGES = ("jobrun", "statustransition", "claim", "runfile", "runrecord", "runlog", "latereport")


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:jobs_{name}", args=args)


@pytest.fixture
def run(job: Job, edda: User, agent: factories.Enrolled) -> JobRun:
    """A run that Edda started with an input and a secret, at work on the agent."""
    one = RunInput(
        name="payroll-2026.xlsx", media_type="x/y", size=3, sha256="0" * 64, storage_name="payroll"
    )
    started = start_run(job, by=edda, parameters={"password": "hunter2"}, inputs=[one]).run
    [held] = agent.api.claim()
    agent.api.move(held | {"claim_id": held.get("claim_id")}, "running")
    RunLog.objects.create(run=started, offset=0, size=2, sha256="0" * 64, text="ok")
    started.refresh_from_db()
    return started


def test_inputs_and_parameters_are_on_no_page(run: JobRun, root: User, edda: User) -> None:
    edda.memberships.update(role="administrator")
    for user in (root, edda):
        client = as_(User.objects.get(pk=user.pk))
        request = client.get("/admin/").wsgi_request
        for model, model_admin in admin.site._registry.items():
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            urls = [reverse(f"{name}_changelist")]
            rows = model_admin.get_queryset(request)[:1]
            urls += [reverse(f"{name}_change", args=[row.pk]) for row in rows]
            for address in urls:
                text = client.get(address).content.decode()
                assert "payroll" not in text, address
                assert "hunter2" not in text, address
    assert RunInput not in admin.site._registry


@pytest.mark.parametrize("who", ["alice", "root"])
def test_runs_and_their_history_are_read_only(who: str, run: JobRun, cast: dict[str, User]) -> None:
    client = as_(cast[who])
    transition = run.transitions.get(sequence=1)
    before = (
        JobRun.objects.filter(pk=run.pk).values().get(),
        list(StatusTransition.objects.order_by("id").values()),
    )
    data = {"status": "completed", "result": "success", "to_status": "completed", "post": "yes"}
    for name, pk in (
        ("jobrun", run.pk),
        ("statustransition", transition.pk),
        ("claim", run.claim_id),
    ):
        assert client.get(url(f"{name}_change", pk)).status_code == 200
        assert client.post(url(f"{name}_change", pk), data).status_code == 403
        assert client.get(url(f"{name}_add")).status_code == 403
        assert client.post(url(f"{name}_add"), data).status_code == 403
        assert client.get(url(f"{name}_delete", pk)).status_code == 403
        assert client.post(url(f"{name}_delete", pk), data).status_code == 403
        listed = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
        client.post(url(f"{name}_changelist"), listed)
    after = (
        JobRun.objects.filter(pk=run.pk).values().get(),
        list(StatusTransition.objects.order_by("id").values()),
    )
    assert after == before


def test_a_run_shows_its_history(run: JobRun, alice: User) -> None:
    text = as_(alice).get(url("jobrun_change", run.pk)).content.decode()
    for word in ("Pending", "Claimed", "Running", "Agent hall-agent", "Edda", str(run.public_id)):
        assert word in text


def test_what_a_run_left_is_seen_in_its_organization_alone(
    run: JobRun, alice: User, oscar: User
) -> None:
    log = RunLog.objects.get(run=run)
    assert as_(alice).get(url("runlog_change", log.pk)).status_code == 200
    assert as_(oscar).get(url("runlog_change", log.pk)).status_code == 404
    for name in RUN_PAGES:
        text = as_(oscar).get(url(f"{name}_changelist")).content.decode()
        assert str(run.public_id)[:6] not in text


def test_cancel_is_the_starters_alone(job: Job, alice: User, root: User, oscar: User) -> None:
    run = factories.run(job, by=alice)
    page = url("jobrun_cancel", run.pk)
    assert as_(root).post(page).status_code == 403
    assert as_(oscar).post(page).status_code == 404
    assert "cancel/" not in as_(root).get(url("jobrun_change", run.pk)).content.decode()
    hers = as_(alice)
    assert "cancel/" in hers.get(url("jobrun_change", run.pk)).content.decode()
    assert hers.get(page).status_code == 200
    run.refresh_from_db()
    assert run.status == Status.PENDING
    assert hers.post(page).status_code == 302
    run.refresh_from_db()
    assert run.status == Status.CANCELED
    assert "Only a pending run" in hers.post(page, follow=True).content.decode()


def test_retry_makes_a_run_of_ones_own(job: Job, alice: User, root: User) -> None:
    run = factories.run(job, by=alice)
    page = url("jobrun_retry", run.pk)
    assert "not ended" in as_(alice).post(page, follow=True).content.decode()
    as_(alice).post(url("jobrun_cancel", run.pk))
    assert as_(root).post(page).status_code == 403
    assert as_(alice).post(page).status_code == 302
    new = JobRun.objects.get(retry_of=run)
    assert (new.started_by, new.status) == (alice, Status.PENDING)


def test_backup_now_starts_once(job: Job, alice: User, root: User, oscar: User) -> None:
    page = url("job_start", job.pk)
    assert as_(root).post(page).status_code == 403  # by membership alone
    assert as_(oscar).post(page).status_code == 404
    assert as_(alice).get(page).status_code == 200
    assert not JobRun.objects.exists()
    first = as_(alice).post(page)
    again = as_(alice).post(page)
    run = JobRun.objects.get()
    assert first.url == again.url == url("jobrun_change", run.pk)  # type: ignore[attr-defined]
    assert run.started_by == alice


def test_runs_are_found_by_the_first_characters_of_their_id(run: JobRun, alice: User) -> None:
    client, page = as_(alice), url("jobrun_changelist")
    key = str(run.public_id)
    for term in (key, key[:6], key[:13], key.upper()):
        assert [row.pk for row in client.get(page, {"q": term}).context["cl"].result_list] == [
            run.pk
        ]
    other = "0" if key[0] != "0" else "1"
    for term in (other * 6, "payroll", "' OR 1=1", "\x00"):
        answer = client.get(page, {"q": term})
        assert answer.status_code == 200
    assert client.get(page, {"q": other * 6}).context["cl"].result_count == 0


def test_runs_are_narrowed_to_a_result(
    run: JobRun, press: Target, agent: factories.Enrolled, edda: User, alice: User
) -> None:
    listing = factories.job(press, Function.objects.get(name="list"), owner=edda)
    done = factories.run(listing, by=edda)
    [held] = agent.api.claim()
    agent.api.move(held, "running")
    assert agent.api.finish(held).json()["result"] == "success"
    client, page = as_(alice), url("jobrun_changelist")
    for result, found in (("success", [done]), ("partial", []), ("king", []), ("", [done, run])):
        answer = client.get(page, {"result__exact": result})
        assert answer.status_code == 200, result
        assert list(answer.context["cl"].result_list) == found, result


# --- saved jobs ----------------------------------------------------------------------------------
def form(**more: Any) -> dict[str, Any]:
    return {
        "name": "Nightly",
        "parameters": "{}",
        "assignment": "automatic",
        "run_timeout_s": 600,
        "schedule_days": "[]",
        "overlap": "skip",
        "grace_s": 600,
        "spread_s": 0,
        "site_order": 0,
        "retries": 0,
        "retry_wait_s": 300,
        "retry_reasons": "[]",
        "queue_timeout_s": 600,
        "tags": "[]",
        "auto_commit": "on",
    } | more


def test_a_job_takes_site_and_organization_from_its_target(
    alice: User, press: Target, backup: Function
) -> None:
    data = form(target=press.pk, function=backup.pk, organization=999, site=999, owner=999)
    assert as_(alice).post(url("job_add"), data).status_code == 302
    job = Job.objects.get(name="Nightly")
    assert (job.site, job.organization, job.owner) == (press.site, press.organization, alice)


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("parameters", '{"nonsense": 1}', "nonsense"),
        ("parameters", "[1]", "JSON object"),
        ("parameters", '{"password": "••••"}', "no stored value"),
        ("version", "9.9", "No agent has ever advertised"),
        ("run_timeout_s", "5", "greater than or equal to 10"),
        ("assignment", "agent", "Choose the agent"),
    ],
)
def test_what_the_rules_refuse_is_said_in_the_form(
    field: str, value: str, word: str, alice: User, press: Target, backup: Function
) -> None:
    data = form(target=press.pk, function=backup.pk) | {field: value}
    answer = as_(alice).post(url("job_add"), data)
    assert answer.status_code == 200
    assert word in answer.content.decode()
    assert not Job.objects.filter(name="Nightly").exists()


def test_secret_parameters_stay_hidden_and_kept(job: Job, alice: User, root: User) -> None:
    Job.objects.filter(pk=job.pk).update(parameters={"password": "hunter2", "exclude": ["*.tmp"]})
    page = url("job_change", job.pk)
    for user in (alice, root):
        assert "hunter2" not in as_(user).get(page).content.decode()
    assert "*.tmp" in as_(alice).get(page).content.decode()
    kept = json.dumps({"password": "••••", "exclude": []})
    assert as_(alice).post(page, form(parameters=kept, target=0, function=0)).status_code == 302
    job.refresh_from_db()
    assert job.parameters == {"password": "hunter2", "exclude": []}
    assert job.name == "Nightly"


def test_a_superuser_without_a_membership_reads_jobs_alone(job: Job, root: User) -> None:
    client = as_(root)
    assert client.get(url("job_change", job.pk)).status_code == 200
    assert client.post(url("job_change", job.pk), form()).status_code == 403
    assert client.get(url("job_add")).status_code == 403
    assert client.post(url("job_archive", job.pk)).status_code == 403


def test_a_job_is_archived_after_its_runs_and_never_deleted(job: Job, alice: User) -> None:
    client = as_(alice)
    run = factories.run(job, by=alice)
    page = url("job_archive", job.pk)
    assert "active run" in client.post(page, follow=True).content.decode()
    client.post(url("jobrun_cancel", run.pk))
    assert client.post(page).status_code == 302
    job.refresh_from_db()
    assert job.archived_at is not None
    assert client.post(url("job_change", job.pk), form()).status_code == 403
    assert client.post(url("job_delete", job.pk), {"post": "yes"}).status_code == 403
    assert JobRun.objects.filter(pk=run.pk).exists()


def chosen(action: str, *rows: Any) -> dict[str, Any]:
    return {"action": action, "index": "0", "_selected_action": [row.pk for row in rows]}


def test_jobs_are_started_together_and_each_says_what_came_of_it(
    job: Job, alice: User, edda: User, hall: Site, oscar: User
) -> None:
    free = factories.job(factories.target(hall, "Press line 2"), job.function, owner=edda)
    gone = factories.job(factories.target(hall, "Press line 3"), job.function, owner=edda)
    gone.archived_at = gone.created_at
    gone.save()
    busy = factories.run(job, by=edda)
    client, page = as_(alice), url("job_changelist")
    asked = client.post(page, chosen("start_each", job, free, gone)).content.decode()
    assert "Start these jobs now?" in asked
    assert JobRun.objects.get() == busy
    told = client.post(page, chosen("start_each", job, free, gone) | {"asked": "1"}, follow=True)
    text = told.content.decode()
    assert f"{job}: run {busy} is at work already." in text
    assert f"{gone}: not in the state that it is in." in text
    assert "Done for 2 of 3." in text
    assert JobRun.objects.get(job=free).started_by == alice
    # Nobody else's rows are touched.
    as_(oscar).post(page, chosen("start_each", free) | {"asked": "1"})
    assert JobRun.objects.count() == 2
    told = client.post(page, chosen("archive_each", job, free) | {"asked": "1"}, follow=True)
    assert f"{job}: " in told.content.decode()
    assert Job.objects.in_use().count() == 2


def test_no_more_than_a_hundred_at_once(
    job: Job, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sites.access.bulk.MOST", 0)
    answer = as_(alice).post(
        url("job_changelist"), chosen("start_each", job) | {"asked": "1"}, follow=True
    )
    assert "Choose no more than 0 at once; nothing was done." in answer.content.decode()
    assert not JobRun.objects.exists()


def test_a_superuser_without_a_membership_starts_none(job: Job, root: User) -> None:
    answer = as_(root).post(
        url("job_changelist"), chosen("start_each", job) | {"asked": "1"}, follow=True
    )
    assert f"{job}: your role does not allow this." in answer.content.decode()
    assert not JobRun.objects.exists()


# --- size ----------------------------------------------------------------------------------------
def test_lists_count_no_further_than_their_cap(
    job: Job, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CappedPaginator, "most", 2)
    Job.objects.filter(pk=job.pk).update(overlap="allow")
    job.refresh_from_db()
    for _ in range(2):
        factories.run(job, by=alice)
    page = url("jobrun_changelist")
    assert ">2 job runs" in squeezed(as_(alice).get(page))
    factories.run(job, by=alice)
    assert ">2+ job runs" in squeezed(as_(alice).get(page))


def squeezed(answer: Any) -> str:
    return " ".join(answer.content.decode().split()).replace("> ", ">")


@pytest.mark.parametrize("name", ["jobrun", "statustransition", "job"])
def test_a_list_takes_the_same_queries_at_one_row_and_at_three(
    name: str, job: Job, alice: User, django_assert_num_queries: Any
) -> None:
    Job.objects.filter(pk=job.pk).update(overlap="allow")
    job.refresh_from_db()
    client, page = as_(alice), url(f"{name}_changelist")
    expected = {"jobrun": 9, "statustransition": 6, "job": 10}[name]
    for _ in range(2):
        factories.run(job, by=alice)
        with django_assert_num_queries(expected):
            client.get(page)
        factories.job(
            job.target, job.function, owner=alice, name=f"Another {JobRun.objects.count()}"
        )
        factories.run(job, by=alice)


def test_a_ticked_row_that_is_none_is_told(alice: User, job: Job) -> None:
    sent = {"action": "archive_each", "_selected_action": "zz"}
    answer = as_(alice).post(reverse("admin:jobs_job_changelist"), sent, follow=True)
    assert answer.status_code == 200
    assert "Tick rows of this list." in answer.content.decode()
