"""What the mail says: where, what and why, what changed, where to look, how to hear less."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail

from jobs import starts, sweeps
from jobs.models import Job, JobRun
from jobs.starts import start_function
from notifications import delivering, fanning
from notifications.models import Delivery, Subscription
from sites.models import Event, Organization, Site, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.jobs.passing import lease_over
from tests.jobs.trying import begin
from tests.notifications.endings import ENDINGS

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def letters(to: User) -> list[Any]:
    """The mails to a person, of all that happened."""
    fanning.fan_out()
    delivering.deliver()
    return [one for one in mail.outbox if one.to == [to.email]]


def last_letter(to: User) -> Any:
    return letters(to)[-1]


def test_the_mail_about_a_failure_says_where_what_and_why(
    job: Job, agent: Enrolled, edda: User, hall: Site
) -> None:
    factories.run(job, by=edda)
    held = begin(agent)
    agent.api.finish(held, "failed", error="The device refused the password.\nTrace: …")
    letter = last_letter(edda)
    assert letter.subject == (
        "Press hall · Press line 1 backup: Failed — The device refused the password."
    )
    link = f"http://127.0.0.1:8000/jobs/{held['id']}"
    for text in (letter.body, letter.alternatives[0].content):
        assert "Press line 1, Press hall · North Works" in text
        assert "The device refused the password. The accepted backup is untouched." in text
        assert link in text
        assert "You hear of this because the run is yours." in text
        assert "http://127.0.0.1:8000/profile#notifications" in text
    assert letter.extra_headers["Auto-Submitted"] == "auto-generated"


def test_the_mail_about_a_time_out_names_the_likely_causes(
    job: Job, agent: Enrolled, edda: User
) -> None:
    ENDINGS["timed_out"](job, agent, edda)
    letter = last_letter(edda)
    assert letter.subject.endswith(": Timed Out — Ran longer than its limit")
    assert "Likely causes:\n- Timeout value too short (likely): " in letter.body
    assert "<li><b>Timeout value too short</b> (likely): " in letter.alternatives[0].content


def test_the_mail_about_a_run_that_nobody_took_names_causes_too(job: Job, edda: User) -> None:
    run = factories.run(job, by=edda)
    JobRun.objects.filter(pk=run.pk).update(queue_until="2026-01-01T00:00:00Z")
    sweeps.sweep()
    letter = last_letter(edda)
    assert letter.subject.endswith(": Timed Out — No agent took it in time")
    assert "Likely causes:\n- " in letter.body


def test_the_mail_about_a_change_says_what_changed(
    job: Job, agent: Enrolled, edda: User, vera: User, hall: Site
) -> None:
    Subscription.objects.create(user=vera, site=hall, level="changes")
    Job.objects.update(describe_changes=True)
    job.refresh_from_db()
    for text in (b"limit = 1\n", b"limit = 2\n"):
        factories.run(job, by=edda)
        back_up(agent.api, {"plc/main.st": text, "readme": b"hello\n"})
    letter = last_letter(vera)
    assert letter.subject == "Press hall · Press line 1 backup: Modified — 1 file"
    assert "1 modified." in letter.body
    assert "− limit = 1" in letter.body
    assert "+ limit = 2" in letter.body
    assert "because you chose so for Press hall." in letter.body


def test_the_mail_about_a_missed_start_and_silent_agents(
    works: Organization, job: Job, agent: Enrolled, edda: User, alice: User, hall: Site
) -> None:
    ENDINGS["missed"](job, agent, edda)
    letter = last_letter(edda)
    assert letter.subject.startswith("Press hall · Press line 1 backup: Missed — the start of ")
    assert f"/jobs/planned?outcome=missed&job={job.public_id}" in letter.body
    for number in range(3):
        one = factories.enrolled(works, f"agent {number}", site=hall, by=alice)
        listing = one.agent.functions.get(function__name="list").function
        start_function(factories.target(hall, f"Line {number}"), listing, by=alice)
        lease_over(begin(one))
    sweeps.sweep()
    letter = last_letter(alice)
    assert letter.subject == "North Works · 3 agents with runs fell silent at once"
    assert "3 agents with runs fell silent at once." in letter.body
    assert "because you administer North Works." in letter.body


def test_names_with_line_breaks_add_nothing_to_the_head(
    job: Job, agent: Enrolled, edda: User, hall: Site
) -> None:
    Job.objects.update(name="Evil\r\nBcc: all@example.com\n\nBuy" + "x" * 80)
    Site.objects.filter(pk=hall.pk).update(name="Hall\nX-Evil: yes")
    job.refresh_from_db()
    factories.run(job, by=edda)
    agent.api.finish(begin(agent), "failed", error="No\r\nSubject: else")
    letter = last_letter(edda)
    message = letter.message()
    assert message["Bcc"] is None
    assert message["X-Evil"] is None
    assert letter.subject.startswith("Hall X-Evil: yes · Evil Bcc: all@example.com Buyxxx")
    assert len(letter.subject) <= 200
    assert "<b>Evil Bcc" in letter.alternatives[0].content


def test_names_are_no_markup(job: Job, agent: Enrolled, edda: User) -> None:
    Job.objects.update(name="<img src=x>")
    job.refresh_from_db()
    ENDINGS["failed"](job, agent, edda)
    letter = last_letter(edda)
    assert "<img" not in letter.alternatives[0].content
    assert "<img src=x>: Failed" in letter.body


def test_no_secret_leaves_with_a_mail(job: Job, agent: Enrolled, edda: User) -> None:
    starts.start_run(job, by=edda, parameters={"password": "orange-Tractor-88"})
    error = "Login with orange-Tractor-88 at https://bob:hunter22@host/ was refused."
    agent.api.finish(begin(agent), "failed", error=error)
    letter = last_letter(edda)
    for text in (letter.subject, letter.body, letter.alternatives[0].content):
        assert "was refused" in text
        assert "Tractor" not in text
        assert "hunter22" not in text


def test_a_password_that_is_cut_off_is_none_the_less_hidden(
    job: Job, agent: Enrolled, edda: User
) -> None:
    factories.run(job, by=edda)
    error = f"{'The device is busy. ' * 9}https://bob:{'hunter22' * 9}@host/ was refused."
    agent.api.finish(begin(agent), "failed", error=error)
    letter = last_letter(edda)
    for text in (letter.subject, letter.body, letter.alternatives[0].content):
        assert "The device is busy." in text
        assert "hunter" not in text


def test_a_run_that_was_pruned_meanwhile_is_told_without_it(
    job: Job, agent: Enrolled, edda: User
) -> None:
    run = ENDINGS["canceled"](job, agent, edda)
    Subscription.objects.create(user=edda, site=job.site, level="everything")
    fanning.fan_out()
    assert isinstance(run, JobRun)
    run.transitions.all().delete()
    run.delete()
    letter = last_letter(edda)
    assert letter.subject == "Press hall · Press line 1 backup: Canceled"
    assert Delivery.objects.get().state == "sent"
    assert Event.objects.filter(subject_id=run.public_id).exists()
