"""How long runs may take and wait: as job or site say, else an hour and a day (S0-27)."""

from __future__ import annotations

import pytest

from agents.models import Function
from jobs.models import Job
from jobs.starts import start_function
from sites.models import Target, User
from tests import factories
from tests.pages import html
from tests.people import API

pytestmark = pytest.mark.django_db
HOUR, DAY = 3600, 24 * 3600


@pytest.mark.parametrize(
    ("of_job", "of_site", "holds"),
    [
        ((None, None), (None, None), (HOUR, DAY)),
        ((None, None), (600, 1200), (600, 1200)),
        ((30, None), (600, 1200), (30, 1200)),
        ((None, 40), (600, 1200), (600, 40)),
        ((30, 40), (None, None), (30, 40)),
    ],
)
def test_a_run_has_the_limits_of_its_job_or_of_its_site(
    job: Job,
    edda: User,
    alice: User,
    of_job: tuple[int | None, int | None],
    of_site: tuple[int | None, int | None],
    holds: tuple[int, int],
) -> None:
    names = ("run_timeout_s", "queue_timeout_s")
    site = {"name": job.site.name} | dict(zip(names, of_site, strict=True))
    assert API(alice).patch(f"sites/{job.site.public_id}", site).status_code == 200
    sent = dict(zip(names, of_job, strict=True))
    saved = API(edda).patch(f"jobs/{job.public_id}", sent).json()
    assert (saved["run_limit_s"], saved["queue_limit_s"]) == holds
    assert tuple(saved[name] for name in names) == of_job
    run = factories.run(Job.objects.get(pk=job.pk), by=edda)
    assert run.queue_until is not None
    wait = round((run.queue_until - run.created_at).total_seconds())
    assert (run.run_timeout_s, wait) == holds


def test_a_run_without_a_job_has_its_sites_limits(
    press: Target, backup: Function, edda: User
) -> None:
    press.site.run_timeout_s = 120
    press.site.save()
    run = start_function(press, backup, by=edda)
    assert run.run_timeout_s == 120
    assert start_function(press, backup, by=edda, run_timeout_s=60).run_timeout_s == 60


def test_the_form_says_what_holds_where_a_limit_is_empty(job: Job, edda: User) -> None:
    job.site.run_timeout_s = 1200
    job.site.save()
    path = f"/jobs/manage/{job.public_id}"
    assert "Empty: as the site says, 20 minutes." in html(edda, f"{path}/edit")
    assert "as the site says" in html(edda, path)
