"""Schedules as people and programs set them: page, API, preview (S0-06)."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now

from jobs import planner, planning
from jobs.models import Job, SiteSchedule
from sites import sql
from sites.models import Site, User
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_, filled, html, words
from tests.people import API

pytestmark = pytest.mark.django_db
DAILY = {"kind": "daily", "time": "02:00"}


@pytest.mark.once
def test_a_program_sets_a_schedule_and_reads_when_it_starts(job: Job, edda: User) -> None:
    api = API(edda)
    path = f"jobs/{job.public_id}"
    assert api.get(path).json()["schedule"] is None
    sent = {"schedule": DAILY, "overlap": "queue", "grace_s": 60, "spread_s": 300}
    saved = api.patch(path, sent).json()
    assert saved["schedule"] == DAILY | {
        "days": [], "cron": "", "time_zone": "Europe/Berlin", "text": "Every day at 02:00",
    }  # fmt: skip
    start = datetime.fromisoformat(saved["next_run_at"])
    local = start.astimezone(ZoneInfo("Europe/Berlin"))
    assert time(2) <= local.time() <= time(2, 5)
    assert {name: saved[name] for name in sent if name != "schedule"} == {
        "overlap": "queue", "grace_s": 60, "spread_s": 300,
    }  # fmt: skip
    # What is not sent stays.
    assert api.patch(path, {"name": "Renamed"}).json()["next_run_at"] == saved["next_run_at"]
    off = api.patch(path, {"enabled": False}).json()
    assert (off["enabled"], off["next_run_at"], off["schedule"]["kind"]) == (False, None, "daily")
    none = api.patch(path, {"schedule": None, "enabled": True}).json()
    assert (none["schedule"], none["next_run_at"]) == (None, None)


@pytest.mark.once
@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"kind": "hourly"}, "schedule.kind"),
        ({"kind": "daily"}, "schedule.time"),
        ({"kind": "daily", "time": "25:00"}, "schedule.time"),
        ({"kind": "weekly", "time": "02:00"}, "schedule.days"),
        ({"kind": "weekly", "time": "02:00", "days": ["monday"]}, "schedule.days.0"),
        ({"kind": "cron", "cron": "0 0 30 2 *"}, "schedule.cron"),
        ({"kind": "cron", "cron": "* * * * * *"}, "schedule.cron"),
        ({"kind": "cron", "cron": "* * * * *", "zone": "UTC"}, "schedule.zone"),
    ],
)
def test_times_that_cannot_be_are_refused_at_every_door(
    job: Job, edda: User, hall: Site, sent: dict[str, Any], field: str
) -> None:
    api = API(edda)
    saved = api.patch(f"jobs/{job.public_id}", {"schedule": sent})
    shown = api.post("jobs/preview", {"site": str(hall.public_id), "schedule": sent})
    for answer in (saved, shown):
        assert answer.status_code == 422
        assert field in answer.json()["errors"], answer.json()
    job.refresh_from_db()
    assert job.schedule_kind == ""


@pytest.mark.once
def test_a_preview_shows_the_next_five_as_they_will_start(job: Job, edda: User, hall: Site) -> None:
    api = API(edda)
    asked = {"site": str(hall.public_id), "schedule": DAILY}
    shown = api.post("jobs/preview", asked).json()
    assert (shown["text"], shown["time_zone"]) == ("Every day at 02:00", "Europe/Berlin")
    assert len(shown["starts"]) == 5
    assert all(", 02:00 CE" in start["local"] for start in shown["starts"])
    saved = api.patch(f"jobs/{job.public_id}", {"schedule": DAILY}).json()
    assert saved["next_run_at"] == shown["starts"][0]["at"]
    # With the site's schedule, which the site does not have yet.
    with_site = asked | {"schedule": {"kind": "site"}}
    assert api.post("jobs/preview", with_site).status_code == 422


def test_the_ledger_of_planned_starts_over_rest(
    job: Job, edda: User, manuel: User, vera: User
) -> None:
    API(edda).patch(f"jobs/{job.public_id}", {"schedule": DAILY})
    for ago in (2, 1):
        Job.objects.filter(pk=job.pk).update(next_run_at=sql.clock() - timedelta(seconds=ago))
        planner.plan()
    run = job.runs.get()
    skipped, started = API(vera).get("occurrences").json()["results"]
    assert (started["outcome"], started["run"]) == ("started", str(run.public_id))
    assert (skipped["outcome"], skipped["reason"], skipped["run"]) == ("skipped", "overlap", None)
    assert skipped["message"] == "A run of the job was still active."
    only = API(vera).get("occurrences", outcome="skipped", job=str(job.public_id)).json()
    assert len(only["results"]) == 1
    # Rule 2: a manager without a grant sees what they started themselves.
    assert API(manuel).get("occurrences").json()["results"] == []


FORM = {"name": "Nightly", "who": "automatic", "run_timeout": "60", "queue_timeout": "60"}


@pytest.mark.once
def test_the_form_sets_a_schedule_and_the_pages_say_it(
    job: Job, agent: Enrolled, edda: User
) -> None:
    """S0-06: the list shows the schedule, the next start and the zone."""
    client, path = as_(edda), f"/jobs/manage/{job.public_id}/edit"
    sent = FORM | {
        "schedule-kind": "weekly", "schedule-time": "22:00", "schedule-days": ["sat", "mon"],
        "schedule-enabled": "on", "schedule-overlap": "queue", "schedule-grace": "1.5",
        "schedule-spread": "0",
    }  # fmt: skip
    assert client.post(path, sent).status_code == 302
    job.refresh_from_db()
    assert (job.schedule_days, job.overlap, job.grace_s) == (["mon", "sat"], "queue", 90)
    for page in (html(edda, "/jobs/manage"), html(edda, f"/jobs/manage/{job.public_id}")):
        assert "Mondays and Saturdays at 22:00" in page
        assert "Europe/Berlin" in page
        assert ", 22:00" in page
    opened = html(edda, path)
    assert opened.count("checked") >= 3
    wrong = client.post(path, sent | {"schedule-kind": "cron", "schedule-cron": "nonsense"})
    assert wrong.status_code == 422
    assert "five fields" in wrong.content.decode()
    # A form of before schedules, or of a program, leaves them out: on demand.
    assert client.post(path, FORM).status_code == 302
    job.refresh_from_db()
    assert (job.schedule_kind, job.enabled, job.next_run_at) == ("", True, None)


@pytest.mark.once
def test_the_page_shows_what_is_typed_before_it_is_saved(
    job: Job, edda: User, press: object
) -> None:
    client = as_(edda)
    typed = {"schedule-kind": "daily", "schedule-time": "02:00", "schedule-spread": "0"}
    edited = client.post(f"/jobs/manage/{job.public_id}/edit/preview", typed).content.decode()
    assert edited.count("<li>") == 5
    assert "Every day at 02:00" in edited
    path = "/jobs/manage/add/preview"
    assert "Choose the target first" in client.post(path, typed).content.decode()
    chosen = typed | {"target": str(job.target.public_id), "schedule-spread": "15"}
    added = client.post(path, chosen).content.decode()
    assert added.count("<li>") == 5
    assert "up to 15 min later" in added
    broken = client.post(path, chosen | {"schedule-kind": "cron", "schedule-cron": "*"})
    assert "five fields" in broken.content.decode()
    assert (
        "no schedule yet" in client.post(path, chosen | {"schedule-kind": "site"}).content.decode()
    )
    assert "<li>" not in client.post(path, {"schedule-kind": ""}).content.decode()


@pytest.mark.once
def test_a_site_gets_its_schedule_on_a_page_and_over_rest(
    hall: Site, job: Job, alice: User, edda: User
) -> None:
    client, path = as_(alice), f"/sites/{hall.public_id}/schedule"
    API(edda).patch(f"jobs/{job.public_id}", {"schedule": {"kind": "site"}})
    assert "No schedule" not in html(alice, path)
    sent = {"schedule-kind": "workdays", "schedule-time": "01:30", "schedule-at_once": "3"}
    assert "Monday to Friday at 01:30" in client.post(f"{path}/preview", sent).content.decode()
    assert client.post(path, sent | {"schedule-time": ""}).status_code == 422
    assert not SiteSchedule.objects.exists()
    assert client.post(path, sent).status_code == 302
    assert job.name in html(alice, path)
    read = API(edda).get(f"sites/{hall.public_id}/schedule").json()
    assert (read["schedule"]["text"], read["at_once"]) == ("Monday to Friday at 01:30", 3)
    assert API(edda).get(f"jobs/{job.public_id}").json()["next_run_at"] == read["next_run_at"]
    put = API(alice).put(f"sites/{hall.public_id}/schedule", {"schedule": None})
    assert (put.json()["schedule"], put.json()["next_run_at"]) == (None, None)


@pytest.mark.once
@pytest.mark.parametrize("days", ["", "5", "null", "true", '{"mon": 1}', '["mo"]', "[[]]"])
def test_days_that_are_none_are_refused_in_the_admin(job: Job, alice: User, days: str) -> None:
    path = f"/admin/jobs/job/{job.pk}/change/"
    sent = {
        "name": job.name, "assignment": "automatic", "parameters": "{}", "tags": "[]",
        "enabled": "on", "schedule_kind": "weekly", "schedule_time": "02:00",
        "schedule_days": days, "schedule_cron": "", "overlap": "skip", "grace_s": 0,
        "spread_s": 0, "site_order": 0, "retries": 0, "retry_wait_s": 300,
        "retry_reasons": '["error"]',
    }  # fmt: skip
    answer = as_(alice).post(path, sent)
    assert answer.status_code == 200
    job.refresh_from_db()
    assert job.schedule_kind == ""


def test_a_schedule_is_sent_whole(job: Job, hall: Site, edda: User, alice: User) -> None:
    site = {"site": str(hall.public_id)}
    for answer in (
        API(edda).patch(f"jobs/{job.public_id}", {"schedule": {}}),
        API(edda).patch(f"jobs/{job.public_id}", {"schedule": {"time": "02:15"}}),
        API(edda).post("jobs/preview", site | {"schedule": {}}),
        API(alice).put(f"sites/{hall.public_id}/schedule", {"schedule": {}, "at_once": 1}),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"] == {"schedule.kind": ["This field is required."]}


@pytest.mark.once
def test_a_schedule_that_cannot_be_any_more_is_read_paused_and_switched_off(
    job: Job, hall: Site, alice: User, edda: User
) -> None:
    """One broken row leaves the others their list; a refused request leaves nothing behind."""
    api, path = API(edda), f"jobs/{job.public_id}"
    good = factories.job(job.target, job.function, owner=edda, name="Good")
    for broken in (Job.objects.filter(pk=job.pk), SiteSchedule.objects.all()):
        planning.save_for_site(planning.of_site(hall))
        broken.update(schedule_kind="cron", schedule_cron="bad bad", next_run_at=Now())
    planner.plan()
    listed = {one["name"]: one["schedule"] for one in api.get("jobs").json()["results"]}
    assert (listed[job.name]["text"], listed[good.name]) == ("bad bad", None)
    said = api.get(path).json()
    assert "five fields" in said["schedule_fault"]
    assert b"Good" in as_(edda).get("/api/v1/jobs?format=csv").getvalue()
    home = words(html(edda, "/"))
    assert "1 thing needs you" in home
    assert f"No starts {job.name} {hall.name} · {said['schedule_fault']} View job" in home
    site = API(alice).get(f"sites/{hall.public_id}/schedule")
    assert (site.status_code, site.json()["schedule"]["text"]) == (200, "bad bad")
    until = (sql.clock() + timedelta(hours=1)).isoformat()
    assert api.post(f"{path}/pause", {"until": until, "reason": "Broken"}).status_code == 200
    assert api.patch(path, {"name": "Renamed"}).json()["name"] == "Renamed"
    assert api.patch(path, {"spread_s": 60}).status_code == 422
    assert api.patch(path, {"enabled": False}).json()["enabled"] is False
    assert api.patch(path, {"enabled": True}).status_code == 422
    assert api.patch(path, {"schedule": DAILY, "enabled": True}).json()["schedule_fault"] == ""


@pytest.mark.once
def test_a_preview_of_a_job_has_its_place_in_its_spread(job: Job, edda: User) -> None:
    api = API(edda)
    saved = api.patch(f"jobs/{job.public_id}", {"schedule": DAILY, "spread_s": 3600}).json()
    sent = {"site": str(job.site.public_id), "schedule": DAILY}
    alone = api.post("jobs/preview", sent).json()["starts"]
    shown = api.post("jobs/preview", sent | {"job": str(job.public_id)}).json()["starts"]
    assert shown[0]["at"] == saved["next_run_at"] != alone[0]["at"]


@pytest.mark.once
def test_who_saves_a_page_of_before_somebody_elses_change_is_told(
    job: Job, hall: Site, alice: User, edda: User
) -> None:
    """Of a job and of a site's schedule; who saves again has seen it."""
    path = f"/jobs/manage/{job.public_id}/edit"
    opened = FORM | {"seen": filled(html(edda, path))["seen"]}
    assert API(alice).patch(f"jobs/{job.public_id}", {"schedule": DAILY}).status_code == 200
    # A mistake of one's own comes first, and does not count as being told.
    wrong = as_(edda).post(path, opened | {"name": ""}).content.decode()
    assert "changed by someone else" not in wrong
    late = as_(edda).post(path, opened | {"seen": filled(wrong)["seen"]})
    assert (late.status_code, "changed by someone else" in late.content.decode()) == (422, True)
    job.refresh_from_db()
    assert job.schedule_kind == "daily"
    again = opened | {"seen": filled(late.content.decode())["seen"]}
    assert as_(edda).post(path, again).status_code == 302
    job.refresh_from_db()
    assert job.schedule_kind == ""

    path = f"/sites/{hall.public_id}/schedule"
    sent = {"schedule-kind": "workdays", "schedule-time": "01:30", "schedule-at_once": "3"}
    opened = sent | {"seen": filled(html(alice, path))["seen"]}
    API(alice).put(f"sites/{hall.public_id}/schedule", {"schedule": DAILY, "at_once": 7})
    wrong = as_(alice).post(path, opened | {"schedule-time": "99"}).content.decode()
    assert "changed by someone else" not in wrong
    late = as_(alice).post(path, opened | {"seen": filled(wrong)["seen"]})
    assert (late.status_code, "changed by someone else" in late.content.decode()) == (422, True)
    assert SiteSchedule.objects.get().at_once == 7
    again = opened | {"seen": filled(late.content.decode())["seen"]}
    assert as_(alice).post(path, again).status_code == 302
    assert SiteSchedule.objects.get().at_once == 3
