"""What waits to be told, and when that is late: who looks after the portal reads it everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db.models.functions import Now
from django.test import Client

from config import doctor, watch
from jobs.models import Job
from notifications import fanning, lag
from notifications.models import Delivery
from sites import ticks
from sites.models import Event, User
from tests.factories import Enrolled
from tests.notifications.endings import failed
from tests.pages import html, words

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def all_else_is_well(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cache.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8 * 2**30))
    monkeypatch.setattr(ticks, "watched_s", lambda: 86_400.0)
    for name in ticks.TICKS:
        ticks.record(name)
    yield
    ticks.tell([])


@pytest.mark.parametrize("what", ["event", "delivery"])
def test_what_waits_for_too_long_is_told_everywhere(
    what: str, job: Job, agent: Enrolled, edda: User, alice: User, client: Client
) -> None:
    failed(job, agent, edda)
    if what == "delivery":
        fanning.fan_out()
    assert lag.oldest_waiting_s() is not None
    assert watch.look() == []
    ago = Now() - timedelta(seconds=lag.LATE_AFTER_S + 60)
    Event.objects.update(at=ago) if what == "event" else Delivery.objects.update(next_at=ago)
    assert watch.look() == ["Late: Deliveries."]
    said = client.get("/readyz").json()
    assert said["late"] == ["deliveries"]
    assert 360 <= said["ages"]["deliveries"] < 420
    page = words(html(alice, "/health"))
    assert "This needs a look. Late: Deliveries." in page
    assert "Late The oldest notification has waited for 6 min" in page
    ticks.tell(watch.look())
    assert "The portal needs a look. Late: Deliveries." in words(html(alice, "/"))


def test_what_waits_for_its_next_try_is_not_late(job: Job, agent: Enrolled, edda: User) -> None:
    failed(job, agent, edda)
    fanning.fan_out()
    Event.objects.update(at=Now() - timedelta(days=1))
    Delivery.objects.update(next_at=Now() + timedelta(hours=2), attempts=5, error="Away.")
    assert lag.oldest_waiting_s() is None
    assert watch.look() == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, ("ok", "none waits for long")),
        ({"next_at": Now() - timedelta(hours=1)}, ("fail", "the oldest has waited for 3600 s")),
        (
            {"next_at": Now() + timedelta(hours=1), "error": "550: No such mailbox"},
            ("warn", "a mail is tried again: 550: No such mailbox"),
        ),
    ],
)
@pytest.mark.once
def test_doctor_says_what_waits(
    columns: dict[str, Any],
    said: tuple[str, str],
    job: Job,
    agent: Enrolled,
    edda: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_there_for_s", lambda: 86_400.0)
    failed(job, agent, edda)
    fanning.fan_out()
    Delivery.objects.update(**columns)
    assert doctor.notifications()[:2] == said


def test_who_has_just_begun_to_watch_does_not_know_yet(
    job: Job, agent: Enrolled, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(job, agent, edda)
    Event.objects.update(at=Now() - timedelta(days=1))
    monkeypatch.setattr(ticks, "watched_s", lambda: 5.0)
    assert not watch.deliveries().late
