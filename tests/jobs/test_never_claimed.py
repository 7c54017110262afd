"""What is said of a run that waits for an agent until its longest wait is over: page and API."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from jobs import definitions, sweeps
from jobs.models import Job, JobRun
from sites.models import User
from tests import factories
from tests.pages import facts, html, words
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def short(job: Job) -> Job:
    """A job whose runs wait for 15 s at most."""
    job.queue_timeout_s = 15
    job.save()
    return job


def test_a_pending_run_says_how_long_it_may_wait(short: Job, edda: User) -> None:
    run = factories.run(short, by=edda)
    told = facts(html(edda, f"/jobs/{run.public_id}"))["Longest wait"]
    assert re.fullmatch(r"15 s ends at \d+ \w+, \d\d:\d\d CES?T", told)
    run.refresh_from_db()
    api = API(edda).get(f"runs/{run.public_id}").json()
    assert (api["run_timeout_s"], api["queue_timeout_s"]) == (3600, 15)
    assert run.queue_until is not None
    assert api["queue_until"] == timezone.localtime(run.queue_until).isoformat().replace(
        "+00:00", "Z"
    )
    # Anew with the end of a pause, as the sweep does it.
    until = timezone.now() + timedelta(hours=2)
    definitions.pause(short, until=until, reason="Oil", by=edda)
    ends = API(edda).get(f"runs/{run.public_id}").json()["queue_until"]
    assert ends[:19] == (until + timedelta(seconds=15)).isoformat()[:19]
    JobRun.objects.update(queue_until=Now() - timedelta(seconds=1))
    assert sweeps.sweep() == 0


def test_a_run_of_another_system_has_no_longest_wait(job: Job, edda: User) -> None:
    run = factories.run(job, by=edda)
    JobRun.objects.update(origin="synced", queue=None, queue_until=None)
    assert "Longest wait" not in words(html(edda, f"/jobs/{run.public_id}"))
    api = API(edda).get(f"runs/{run.public_id}").json()
    assert (api["queue_timeout_s"], api["queue_until"]) == (None, None)
