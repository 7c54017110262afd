"""How the portal watches itself: what is late, and who is told."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import Function
from config import serving, watch
from jobs import sweeps
from jobs.models import JobRun
from jobs.starts import start_function
from sites import ticks
from sites.models import Pulse
from tests import factories
from tests.jobs.passing import lease_over, pulse_was
from tests.pages import admin_path, as_, html, words
from tests.waiting import until

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What ticked in another test is in the cache still, and this process is young."""
    cache.clear()
    ticks.tell([])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8 * 2**30))
    monkeypatch.setattr(ticks, "watched_s", lambda: 86_400.0)
    yield
    ticks.tell([])


def all_done(*, but: tuple[str, ...] = ()) -> None:
    for name in ticks.TICKS:
        if name not in but:
            ticks.record(name)


# --- what is late ---------------------------------------------------------------------------------

# Age of the sweep (None: never), for how long this process watches: whether it is late.
LATE = [
    (0, 86_400, False),
    (119, 86_400, False),
    (121, 86_400, True),
    (None, 86_400, True),
    # After a restart of everything it is on its way.
    (86_400, 60, False),
    (None, 60, False),
    (86_400, 121, True),
    (None, 121, True),
    (0, 121, False),
]


@pytest.mark.once
@pytest.mark.parametrize(("age", "watched", "late"), LATE)
def test_what_was_not_done_is_late_once_it_could_have_been(age, watched, late):
    known = {name: 0.0 for name in ticks.TICKS if name != "sweep"}
    known |= {} if age is None else {"sweep": float(age)}
    assert ticks.late(known, watched_s=watched) == (["sweep"] if late else [])


NIGHT = 24 * 3600
# Age of the pruning, for how long somebody watches (None: they look once): whether it is late.
MISSED = [
    (None, 5, False),
    (None, None, False),
    (None, 3 * NIGHT, True),
    (NIGHT + 3600, 5, False),
    (2 * NIGHT, None, True),
    # A process that has just begun is no reason to doubt it: no later tick makes up for a night.
    (2 * NIGHT, 5, True),
]


@pytest.mark.once
@pytest.mark.parametrize(("age", "watched", "late"), MISSED)
def test_a_night_that_was_missed_is_late(age, watched, late):
    known = {name: 0.0 for name in ticks.TICKS if name != "prune"}
    known |= {} if age is None else {"prune": float(age)}
    assert ticks.late(known, watched_s=watched) == (["prune"] if late else [])


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (6 * 2**30, []),
        (2 * 2**30, ["The disk has 2.0 GiB left."]),
        (2**20, ["The disk has 0.0 GiB left."]),
    ],
)
def test_a_disk_with_little_room_is_told_of(monkeypatch, client, free, said):
    all_done()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert watch.look() == said
    assert client.get("/readyz").json()["low"] == (["disk"] if said else [])


def test_late_work_and_disk_are_one_list(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    all_done(but=("lost_agents", "tidy"))
    assert watch.look() == ["Late: Lost agents, Tidy.", "The disk has 0.0 GiB left."]


@pytest.mark.parametrize(("noted_s", "said"), [(5, []), (50, []), (3600, ["60 min"])])
def test_a_portal_that_no_web_process_serves_is_told_of(noted_s, said):
    """By the worker to the monitor outside: there is no page to say so."""
    all_done()
    pulse_was("serving", noted_s=noted_s)
    assert [one.split(" for ")[1].strip(".") for one in watch.look()] == said


def test_after_the_clock_was_set_back_nothing_is_taken_for_done():
    all_done()
    for name in ticks.TICKS:
        cache.set(f"tick:{name}", time.time() + 3600, timeout=None)
    assert watch.look() == ["Late: Plan, Retry, Sweep, Lost agents, Fan out, Deliver, Tidy."]


# --- the page -------------------------------------------------------------------------------------


def test_the_page_says_that_all_is_well(alice):
    all_done()
    page = words(html(alice, "/health"))
    assert "All is well." in page
    assert page.count("On time") == len(ticks.TICKS)
    assert "No run is pending. No notification waits." in page
    assert "Interruptions last 24 hours None." in page
    assert "8.0 GiB free" in page


def test_the_page_says_what_is_late(alice):
    all_done(but=("lost_agents", "tidy"))
    page = words(html(alice, "/health"))
    assert "This needs a look. Late: Lost agents, Tidy." in page
    assert page.count("On time") == len(ticks.TICKS) - 2


def test_who_has_just_begun_to_watch_waits(alice, monkeypatch):
    monkeypatch.setattr(ticks, "watched_s", lambda: 5.0)
    page = words(html(alice, "/health"))
    assert "All is well." in page
    assert page.count("Not yet") == len(ticks.TICKS)


def test_each_sees_the_runs_of_their_own_organizations(
    works, elsewhere, alice, oscar, root, agent, job, edda
):
    quay = factories.target(factories.site(elsewhere, "Quay"), "Crane")
    assert "No run is pending." in words(html(alice, "/health"))
    run = factories.run(job, by=edda)
    assert f"/jobs/{run.public_id}" in html(alice, "/health")
    assert "No run is pending." in words(html(oscar, "/health"))
    assert works.name not in html(oscar, "/health")
    factories.enrolled(elsewhere, "quay-agent", site=quay.site, by=oscar)
    listing = Function.objects.get(organization=elsewhere, name="list")
    theirs = start_function(quay, listing, by=oscar)
    assert f"/jobs/{theirs.public_id}" in html(oscar, "/health")
    assert f"/jobs/{theirs.public_id}" not in html(alice, "/health")
    # The older one of all.
    assert f"/jobs/{run.public_id}" in html(root, "/health")


def test_where_the_files_lie_is_for_superusers(alice, root, settings):
    assert "GiB free at" in words(html(root, "/health"))
    assert "GiB free at" not in words(html(alice, "/health"))
    assert str(settings.DATA_DIR) not in html(alice, "/health")


def test_interruptions_are_told_for_a_day(alice):
    pulse_was("serving", noted_s=5, resumed_s=3600)
    pulse_was("sweeping", noted_s=5, resumed_s=90_000)
    page = words(html(alice, "/health"))
    assert "The portal answered no agents until then" in page
    assert "Nobody looked for runs" not in page


def test_silent_agents_are_told_to_their_own_organization(
    works, elsewhere, hall, alice, oscar, edda, root
):
    for organization, site, admin, number in (
        (works, hall, alice, 2),
        (elsewhere, factories.site(elsewhere, "Quay"), oscar, 1),
    ):
        for each in range(number):
            one = factories.enrolled(organization, f"agent {each}", site=site, by=admin)
            target = factories.target(site, f"Line {each}")
            start_function(
                target, Function.objects.get(organization=organization, name="list"), by=admin
            )
            [run] = one.api.claim()
            one.api.move(run, "running")
            lease_over(run)
    assert sweeps.sweep() == 0
    for person, agents in ((alice, "2 agents"), (oscar, "1 agent"), (root, "3 agents")):
        assert f"{agents} with runs fell silent at once." in words(html(person, "/health"))
    quinn = factories.member(factories.organization("Quiet"), "quinn", "administrator")
    assert "silent at once" not in html(quinn, "/health")


def test_the_page_asks_as_much_however_much_there_is(alice, agent, job, edda):
    Pulse.objects.all().delete()
    counts = []
    for _ in range(2):
        browser = as_(alice)
        browser.get("/health")
        with CaptureQueriesContext(connection) as asked:
            assert browser.get("/health").status_code == 200
        counts.append(len(asked))
        for name in ("serving", "sweeping"):
            pulse_was(name, noted_s=5, resumed_s=60)
        factories.run(job, by=edda)
        start_function(job.target, Function.objects.get(name="list"), by=edda)
    assert counts == [11, 11]


# --- the banner -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/jobs/history", "/admin/", "the admin's list of runs"])
@pytest.mark.once
def test_administrators_read_on_every_page_what_is_amiss(alice, root, mia, path):
    address = admin_path(JobRun, "changelist") if path.startswith("the") else path
    people = {"alice": as_(alice), "root": as_(root)}
    for browser in people.values():
        browser.get(address)
        with CaptureQueriesContext(connection) as before:
            assert "needs a look" not in browser.get(address).content.decode()
        ticks.tell(["Late: Sweep."])
        with CaptureQueriesContext(connection) as after:
            page = browser.get(address).content.decode()
        assert "The portal needs a look. Late: Sweep. Health of the portal" in words(page)
        assert len(after) == len(before)
        ticks.tell([])
    if not address.startswith("/admin"):
        ticks.tell(["Late: Sweep."])
        assert "needs a look" not in html(mia, address)


def test_the_admin_leads_to_the_page(alice):
    assert 'href="/health"' in html(alice, "/admin/")


@pytest.mark.django_db(transaction=True)
def test_a_process_that_serves_notes_it_and_looks():
    all_done(but=("sweep",))
    noting = serving.Noting(0.05)
    try:
        until(lambda: Pulse.objects.filter(name="serving").exists())
        until(ticks.amiss)
        assert ticks.amiss() == ("Late: Sweep.",)
        all_done()
        until(lambda: not ticks.amiss())
    finally:
        noting.end()
    assert not [one for one in threading.enumerate() if one.name == "serving"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_logged_once(monkeypatch, caplog):
    tries = []

    def fail(name):
        tries.append(name)
        raise OSError("away")

    monkeypatch.setattr("sites.pulse.note", fail)
    noting = serving.Noting(0.02)
    until(lambda: len(tries) > 3)
    monkeypatch.undo()
    until(lambda: Pulse.objects.filter(name="serving").exists())
    noting.end()
    assert caplog.text.count("cannot be noted") == 1


@pytest.mark.once
def test_a_process_that_does_not_serve_notes_nothing(settings):
    assert settings.SERVING_NOTED_EVERY_S == 0
    serving.begin()
    assert not [one for one in threading.enumerate() if one.name == "serving"]
