"""A pause where people meet it: asked for, read, changed and ended in the portal and the admin."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Job
from sites import pauses
from sites.archiving import archive_site
from sites.models import Organization, Site, User
from tests import factories
from tests.jobs.pausing import KINDS, kind_of, pause
from tests.pages import admin_path, as_, html

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PAGES = {"job": "/jobs/manage/{}", "site": "/sites/{}", "agent": "/agents/{}"}


@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_in_the_portal_it_is_asked_for_shown_and_ended(
    thing: Any, job: Job, alice: User, vera: User
) -> None:
    """A person says how long and why, and everyone reads it where it holds things up."""
    address = PAGES[kind_of(thing)].format(thing.public_id)
    client = as_(alice)
    assert "How long" in client.get(f"{address}/pause").content.decode()
    refused = client.post(f"{address}/pause", {"lasts": "other", "until": "", "reason": "Oil"})
    assert refused.status_code == 422
    assert "Say until when" in refused.content.decode()
    # The time that is typed is the site's: 06:30 in Kathmandu is 00:45 UTC.
    Site.objects.update(time_zone="Asia/Kathmandu")
    soon = timezone.now() + timedelta(days=3)
    sent = {"lasts": "other", "until": f"{soon:%Y-%m-%d}T06:30", "reason": "Oil <change>"}
    assert client.post(f"{address}/pause", sent).status_code == 302
    thing.refresh_from_db()
    assert thing.paused_until == soon.replace(hour=0, minute=45, second=0, microsecond=0)
    shown = "/sites" if kind_of(thing) == "site" else address
    # Who changes it finds what was said, and takes the rest over.
    again = client.get(f"{address}/pause").content.decode()
    assert "Oil &lt;change&gt;" in again
    assert f"{soon:%Y-%m-%d}T06:30" in again
    assert (f"{address}/pause" in html(alice, shown)) is True
    for person in (alice, vera):
        page = html(person, shown)
        assert "Oil &lt;change&gt;" in page
        assert "is paused until" in page
        assert ("/resume" in page) is (person == alice)
    if kind_of(thing) == "site":
        assert "Oil &lt;change&gt;" in html(vera, "/jobs/manage")
    client.post(f"{address}/resume")
    assert "is paused until" not in html(vera, shown)


def test_the_paused_sites_stand_above_the_jobs_also_when_rows_are_drawn_again(
    hall: Site, yard: Site, job: Job, works: Organization, alice: User, manuel: User, vera: User
) -> None:
    """Those that the viewer sees, with or without a job on the page; none that was archived."""
    put_away = factories.site(works, "Quarry")
    for site in (hall, yard, put_away):
        pause(site, alice)
    archive_site(put_away)
    for person, expected in (
        (alice, ["Press hall", "Yard"]),
        (manuel, ["Press hall", "Yard"]),
        (vera, ["Press hall"]),
    ):
        for query in ("", "?search=nothing", f"?rows={job.public_id}"):
            banners = re.findall(r"Site ([\w ]+) is paused", html(person, f"/jobs/manage{query}"))
            assert banners == expected, (person, query)


def test_a_span_begins_now(hall: Site, alice: User) -> None:
    client, before = as_(alice), timezone.now()
    client.post(f"/sites/{hall.public_id}/pause", {"lasts": "4", "until": "", "reason": "Oil"})
    hall.refresh_from_db()
    assert hall.paused_until is not None
    assert timedelta(hours=4) <= hall.paused_until - before < timedelta(hours=4, minutes=5)


@pytest.mark.parametrize("thing", KINDS, indirect=True)
def test_in_the_admin_one_and_several_are_paused(thing: Any, alice: User) -> None:
    client = as_(alice)
    button = admin_path(thing, "pause", thing.pk)
    assert "How long" in client.get(button).content.decode()
    said = client.post(button, {"lasts": "1", "reason": ""}, follow=True).content.decode()
    assert "was not paused" in said
    assert (
        "is paused until"
        in client.post(button, {"lasts": "1", "reason": "Oil"}, follow=True).content.decode()
    )
    change = client.get(admin_path(thing, "change", thing.pk)).content.decode()
    assert "Oil" in change
    client.post(admin_path(thing, "resume", thing.pk))
    thing.refresh_from_db()
    assert not thing.is_paused
    several = {"action": "pause_each", "_selected_action": [thing.pk]}
    listed = admin_path(thing, "changelist")
    assert "How long" in client.post(listed, several).content.decode()
    empty = several | {"asked": "1", "lasts": "24", "reason": ""}
    said = client.post(listed, empty, follow=True).content.decode()
    assert f"{thing}: {pauses.SAY_WHY}" in said
    client.post(listed, several | {"asked": "1", "lasts": "24", "reason": "Holidays"})
    thing.refresh_from_db()
    assert (thing.is_paused, thing.pause_reason, thing.paused_by) == (True, "Holidays", alice)
