"""Many who decide and send at once, and some that are killed: everybody hears, and hears once."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db.models.functions import Now

from jobs.models import Job, JobRun
from jobs.states import FINAL
from notifications import fanning
from notifications.models import Delivery, Notification
from sites.models import Event, Site, User
from tests import factories
from tests.factories import Enrolled
from tests.invariants import check_deliveries
from tests.notifications.endings import failed
from tests.waiting import until
from tests.zygote import Processes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

RUNS = 40


@pytest.fixture
def letters() -> Path:
    """The folder into which the processes' mail goes."""
    folder: Path = settings.MAIL_FOLDER
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


def ids(letters: Path) -> Counter[str]:
    """How often each message id was sent."""
    texts = (file.read_text() for file in letters.iterdir())
    return Counter(one for text in texts for one in re.findall(r"^Message-ID: <(.*)>$", text, re.M))


@pytest.mark.parametrize(
    "number",
    [pytest.param(2, marks=pytest.mark.once), pytest.param(5, marks=pytest.mark.postgres)],
)
def test_any_number_of_workers_tell_each_of_each_end_once(
    number: int,
    job: Job,
    agent: Enrolled,
    hall: Site,
    edda: User,
    alice: User,
    processes: Processes,
    letters: Path,
) -> None:
    """I5: every final transition has exactly one delivery per subscriber and channel."""
    listing = agent.agent.functions.get(function__name="list").function
    other = factories.job(job.target, listing, owner=edda, overlap="allow", name="Listing")
    running = processes("fan_out", number) + processes("deliver", number)
    for _ in range(RUNS // 8):
        factories.runs([other] * 8, by=edda)
        for held in agent.api.claim(8):
            agent.api.move(held, "running")
            agent.api.finish(held, "failed")
    until(lambda: not Event.objects.filter(fanned_out_at=None).exists())
    until(lambda: not Delivery.objects.filter(next_at__isnull=False).exists())
    assert all(one.lives() for one in running)
    assert JobRun.objects.filter(status__in=FINAL).count() == RUNS
    assert check_deliveries([edda, alice]) == 2 * RUNS
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}
    expected = {f"{one}@127.0.0.1" for one in Delivery.objects.values_list("public_id", flat=True)}
    assert ids(letters) == Counter(dict.fromkeys(expected, 1))


def test_who_is_killed_between_sending_and_marking_loses_nothing(
    job: Job, agent: Enrolled, edda: User, alice: User, processes: Processes, letters: Path
) -> None:
    """Rule 40: at least once, and the same id on every try."""
    User.objects.filter(pk=alice.pk).update(email="")
    failed(job, agent, edda)
    fanning.fan_out()
    due = Delivery.objects.get()
    [victim] = processes("deliver_and_die", 1)
    until(lambda: not victim.lives())
    assert sum(ids(letters).values()) == 1
    due.refresh_from_db()
    assert (due.state, due.attempts) == ("waiting", 1)
    # Nobody else is at it until its lease is over.
    processes("deliver", 1)
    Delivery.objects.update(lease_until=Now() - timedelta(seconds=1))
    until(lambda: Delivery.objects.filter(sent_at__isnull=False).exists())
    due.refresh_from_db()
    assert (due.state, due.attempts) == ("sent", 2)
    assert ids(letters) == Counter({f"{due.public_id}@127.0.0.1": 2})
    assert Notification.objects.filter(decision="sent").count() == 1
    assert check_deliveries([edda]) == 1
