"""No secret and no run slips past a target that moves or goes: real connections at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agents.models import Function
from jobs.masking import holds_secrets
from jobs.models import Job, JobRun
from jobs.starts import start_run
from sites import archiving, places
from sites.masking import HIDDEN
from sites.models import Organization, Site, Target, User
from sites.problems import Refused
from tests import factories
from tests.web import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

ROUNDS = 25
PASSWORD = "hunter2hunter2"
HOME, ELSEWHERE = "10.20.4.11", "198.51.100.66"


def both(*acts: Callable[[], Any]) -> list[str]:
    """Do all at once; gives the code of each refusal, "" where there was none."""

    def code_of(act: Callable[[], Any]) -> str:
        try:
            act()
        except Refused as refused:
            return refused.code
        return ""

    return at_once([partial(code_of, act) for act in acts])


def test_a_start_against_a_move(hall: Site, backup: Function, edda: User) -> None:
    """Either the run is there first and holds the target, or it goes without the secret."""
    for number in range(ROUNDS):
        target = factories.target(hall, f"Line {number}")
        job = factories.job(target, backup, owner=edda, parameters={"password": PASSWORD})
        read = Job.objects.select_related("target", "function__tool", "agent", "pool").get(
            pk=job.pk
        )
        place = Target.objects.get(pk=target.pk)
        move = partial(places.save_target, place, clear_secrets=True, address=ELSEWHERE)
        codes = both(partial(start_run, read, by=edda), move)
        run = JobRun.objects.get(job=job)
        target.refresh_from_db()
        with_secret = holds_secrets(run.function, run.parameters)
        assert target.address == (HOME if with_secret else ELSEWHERE)
        assert codes == ["", "invalid" if with_secret else ""]


def test_a_retry_against_a_move(hall: Site, backup: Function, edda: User) -> None:
    """What was given for the address of before never follows the target."""
    for number in range(ROUNDS):
        target = factories.target(hall, f"Line {number}")
        job = factories.job(target, backup, owner=edda)
        first = start_run(job, by=edda, parameters={"password": PASSWORD}).run
        JobRun.objects.filter(pk=first.pk).update(status="canceled", finished_at=first.created_at)
        place = Target.objects.get(pk=target.pk)
        again = partial(start_run, job, by=edda, parameters=first.parameters, retry_of=first)
        codes = both(again, partial(places.save_target, place, address=ELSEWHERE))
        retried = JobRun.objects.filter(retry_of=first).exists()
        target.refresh_from_db()
        assert target.address == (HOME if retried else ELSEWHERE)
        assert codes == (["", "invalid"] if retried else ["target_moved", ""])


@pytest.mark.parametrize("what", ["target", "site"])
def test_a_start_against_an_archiving(
    what: str, works: Organization, backup: Function, edda: User
) -> None:
    """Nothing begins where all is put away; and nothing is put away over a run."""
    for number in range(ROUNDS):
        site = factories.site(works, f"Hall {number}")
        target = factories.target(site, "Line")
        job = factories.job(target, backup, owner=edda)
        away = (
            partial(archiving.archive_target, Target.objects.get(pk=target.pk))
            if what == "target"
            else partial(archiving.archive_site, Site.objects.get(pk=site.pk))
        )
        codes = both(partial(start_run, job, by=edda), away)
        target.refresh_from_db()
        started = JobRun.objects.filter(job=job).exists()
        assert started == (target.archived_at is None)
        assert codes == (["", "active_runs"] if started else ["archived", ""])


def test_two_editors_of_one_target(hall: Site, edda: User) -> None:
    """Who keeps the secret and who moves it: never both."""
    for number in range(ROUNDS):
        stored = {"password": PASSWORD}
        target = factories.target(hall, f"Line {number}", settings=stored)
        one, other = (Target.objects.get(pk=target.pk) for _ in range(2))
        anew: dict[str, Any] = {"address": ELSEWHERE, "settings": {"password": "another"}}
        kept: dict[str, Any] = {"settings": {"password": HIDDEN, "retries": 3}}
        codes = both(
            partial(places.save_target, one, **anew), partial(places.save_target, other, **kept)
        )
        target.refresh_from_db()
        assert codes == ["", ""]
        assert (target.address, target.settings["password"]) == (ELSEWHERE, "another")
