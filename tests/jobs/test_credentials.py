"""A credential goes out with a claim alone, to runs that may use it, and is in nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.urls import reverse

from jobs.models import Job, JobRun, RunLog
from sites import credentials, places
from sites.models import Credential, Organization, Target, User
from tests import factories
from tests.factories import SECRET, Enrolled
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]

GIVEN = {"username": "plc", "password": SECRET}


@pytest.fixture
def login(works: Organization, press: Target, alice: User) -> Credential:
    made = factories.credential(works, by=alice)
    places.save_target(press, credential=made)
    return made


def begun(agent: Enrolled) -> dict[str, Any]:
    [held] = agent.api.claim()
    assert agent.api.move(held, "running").status_code == 200
    return held


def test_a_secret_is_in_no_answer_page_log_line_or_row(
    login: Credential, job: Job, agent: Enrolled, edda: User, alice: User, root: User,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The agent says it wherever it can; nobody reads it, not even in the database."""
    caplog.set_level(logging.DEBUG)
    factories.run(job, by=edda)
    [held] = agent.api.claim()
    assert held["credentials"] == GIVEN
    said = f"login with {SECRET} refused"
    assert agent.api.move(held, "running", message=said).status_code == 200
    api, of = agent.api, agent.api.of
    # Cut in two, so that no piece holds it whole.
    assert api.post(of(held, "log"), {"offset": 0, "text": said[:15]}).status_code == 200
    assert api.post(of(held, "log"), {"offset": 15, "text": said[15:]}).status_code == 200
    record = {"sequence": 1, "name": said, "status": "failed", "error": said, "result": said}
    assert api.post(of(held, "records"), {"records": [record]}).status_code == 200
    texts = {"message": said, "error": said, "summary": said}
    assert api.finish(held, "failed", **texts).status_code == 200
    second = JobRun.objects.get(pk=factories.run(job, by=edda).pk)
    again = begun(agent)
    results = [{"id": again["id"], "attempt": 1, "status": "failed"} | texts]
    answer = api.put("results", {"results": results})
    assert answer.json()["results"][0]["code"] == "ok"
    assert api.finish(again, "failed", **texts | {"message": "other " + said}).status_code == 409

    client, boss = Client(), Client()
    client.force_login(edda)
    boss.force_login(alice)
    run = f"runs/{held['id']}"
    shown = [
        *(
            API(user).get(path)
            for user in (edda, alice, root)
            for path in (
                "credentials", f"credentials/{login.public_id}", "targets", "runs", run,
                f"targets/{job.target.public_id}", f"{run}/log", f"{run}/records",
                f"{run}/transitions", f"jobs/{job.public_id}", "jobs",
                f"runs/{second.public_id}/late-reports",
            )
        ),
        *(
            client.get(f"/jobs/{path}")
            for path in (
                held["id"], f"{held['id']}?tab=log", f"{held['id']}?tab=records",
                f"{held['id']}/log", "history", "history/export", f"manage/{job.public_id}",
            )
        ),
        *(
            boss.get(reverse(f"admin:{name}", args=args))
            for name, args in (
                ("sites_credential_changelist", []), ("sites_credential_change", [login.pk]),
                ("sites_target_change", [job.target.pk]), ("jobs_jobrun_change", [second.pk]),
                ("jobs_job_change", [job.pk]),
            )
        ),
    ]  # fmt: skip
    for answer in shown:
        assert answer.status_code == 200, answer.content
        text = b"".join(answer) if answer.streaming else answer.content
        assert SECRET.encode() not in text
    log = "".join(RunLog.objects.order_by("offset").values_list("text", flat=True))
    assert log == "login with •••• refused"
    assert SECRET not in caplog.text
    rows = every_text_in_the_database()
    assert "login with •••• refused" in rows  # or this looked nowhere
    assert SECRET not in rows
    audit = apps.get_model("auditlog.LogEntry")
    assert audit.objects.filter(object_repr="Line login").exists()


def every_text_in_the_database() -> str:
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            found += [str(row) for row in cursor.fetchall()]
    return "\n".join(found)


def test_whose_runs_use_what_stands_on_their_target(
    login: Credential, job: Job, press: Target, backup: Any, agent: Enrolled,
    manuel: User, edda: User,
) -> None:  # fmt: skip
    def given(run: Any) -> Any:
        assert run.status_code == 201, run.content
        held = begun(agent)
        agent.api.finish(held, "failed")
        return held["credentials"]

    place = {"target": str(press.public_id), "function": str(backup.public_id)}
    start = f"jobs/{job.public_id}/run"
    assert given(API(edda).post("runs", place)) == GIVEN
    # A manager starts what an editor wrote, and with it no parameters of their own.
    assert given(API(manuel).post(start, {})) == GIVEN
    assert given(API(manuel).post(start, {"parameters": {"exclude": ["x"]}})) == {}
    assert given(API(manuel).post("runs", place)) == {}
    made = API(manuel).post("jobs", place | {"name": "Manuel's"})
    assert given(API(manuel).post(f"jobs/{made.json()['id']}/run", {})) == {}


def test_a_claim_gives_what_stands_there_now(
    login: Credential, job: Job, press: Target, agent: Enrolled, edda: User, alice: User,
    works: Organization,
) -> None:  # fmt: skip
    factories.run(job, by=edda)
    credentials.change(login, by=alice, secret={"password": "lemon-Harvester-99"})
    [held] = agent.api.claim()
    assert held["credentials"] == GIVEN | {"password": "lemon-Harvester-99"}
    # Replaced while the run is at work: what it was given is masked still.
    credentials.change(login, by=alice, secret={"password": "grape-Wagon-11"})
    agent.api.move(held, "running", message="lemon-Harvester-99 grape-Wagon-11")
    run = JobRun.objects.get()
    assert run.message == "•••• ••••"
    # Asked for again after it was taken off for a new address: that gets no secret.
    places.save_target(press, address="10.66.6.6", credential=None)
    [same] = agent.api.claim(claim_id=held["claim_id"])
    assert (same["target"]["address"], same["credentials"]) == ("10.66.6.6", {})
    agent.api.finish(held, "failed")
    factories.run(job, by=edda)
    [plain] = agent.api.claim()
    assert plain["credentials"] == {}
