"""Job Management: its tabs, filters and what stands in a row's menu."""

from __future__ import annotations

import re

import pytest

from agents.models import Function
from jobs.models import Job
from sites.models import Site, Target, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs import pausing
from tests.pages import as_, html
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def jobs(job: Job, press: Target, yard: Site, agent: Enrolled, edda: User) -> dict[str, Job]:
    """A backup and a listing of the press, and one of the yard, which Edda does not see."""
    listing = Function.objects.get(name="list")
    crane = factories.target(yard, "Crane")
    return {
        "backup": job,
        "listing": factories.job(
            press, listing, owner=edda, name="Count files", tags=["night"],
            assignment="agent", agent=agent.agent,
        ),
        "crane": factories.job(crane, listing, owner=edda, name="Count at the crane"),
    }  # fmt: skip


def listed(user: User, query: str = "") -> list[str]:
    return re.findall(r'<a class="name"[^>]*>([^<]*)</a>', html(user, f"/jobs/manage{query}"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["Count at the crane", "Count files", "Press line 1 backup"]),
        ("?ordering=-name", ["Press line 1 backup", "Count files", "Count at the crane"]),
        ("?backs_up=true", ["Press line 1 backup"]),
        ("?backs_up=false", ["Count at the crane", "Count files"]),
        ("?search=count", ["Count at the crane", "Count files"]),
        ("?search=PRESS", ["Count files", "Press line 1 backup"]),
        ("?search=hall-agent", ["Count files"]),
        ("?tag=night", ["Count files"]),
        ("?site={yard}", ["Count at the crane"]),
        ("?agent={agent}", ["Count files"]),
        ("?agent={agent}&backs_up=true", []),
    ],
)
def test_the_list_is_narrowed(jobs, yard, agent, alice, query, expected) -> None:
    """S0-01: tabs, menus and the search narrow the jobs together."""
    ids = {"yard": yard.public_id, "agent": agent.agent.public_id}
    assert listed(alice, query.format(**ids)) == expected


def test_tabs_count_what_the_viewer_may_see_under_the_filters(jobs, yard, alice, edda) -> None:
    def tabs(user: User, query: str = "") -> dict[str, str]:
        page = html(user, f"/jobs/manage{query}")
        found = re.findall(r'(All|Backups|Functions|Paused) <span class="n">(\d+)</span>', page)
        return dict(found)

    assert tabs(alice) == {"All": "3", "Backups": "1", "Functions": "2", "Paused": "0"}
    assert tabs(edda) == {"All": "2", "Backups": "1", "Functions": "1", "Paused": "0"}
    pausing.pause(jobs["backup"], alice)
    pausing.pause(yard, alice)
    assert tabs(alice)["Paused"] == "2"
    assert tabs(edda)["Paused"] == "1"
    found = tabs(alice, "?search=crane&backs_up=true")
    assert found == {"All": "1", "Backups": "0", "Functions": "1", "Paused": "1"}


def test_what_is_paused_has_its_tab_and_its_filter(jobs, yard, alice) -> None:
    assert "Nothing is paused" in html(alice, "/jobs/manage?paused=true")
    pausing.pause(jobs["backup"], alice)
    pausing.pause(yard, alice)
    assert listed(alice, "?paused=true") == ["Count at the crane", "Press line 1 backup"]

    def told(paused: str) -> list[str]:
        answer = API(alice).get("jobs", paused=paused, ordering="name").json()
        return [job["name"] for job in answer["results"]]

    assert told("true") == ["Count at the crane", "Press line 1 backup"]
    assert told("false") == ["Count files"]
    for nonsense in ("on", "nonsense", "NaN", "\0", "2"):
        answer = API(alice).get("jobs", paused=nonsense)
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["paused"])
    assert API(alice).post(pausing.in_api(yard, "/resume")).status_code == 200
    assert told("true") == ["Press line 1 backup"]


def test_menus_offer_what_the_viewer_may_see(jobs, alice, edda) -> None:
    crane = '<span class="cut">Yard</span>'
    assert crane in html(alice, "/jobs/manage")
    assert crane not in html(edda, "/jobs/manage")


def test_a_filter_is_a_pill_that_can_be_removed(jobs, yard, alice) -> None:
    page = html(alice, f"/jobs/manage?site={yard.public_id}&search=count")
    assert "Site is <b>Yard</b>" in page
    assert 'href="?search=count" aria-label="Remove: Site is Yard"' in page


def test_a_filter_that_is_not_valid_says_so_and_lists_nothing(jobs, alice) -> None:
    page = html(alice, "/jobs/manage?site=nonsense")
    assert "This filter is not valid." in page
    assert listed(alice, "?site=nonsense") == []


def test_a_duplicate_begins_like_its_model_without_its_secrets(jobs, edda, press) -> None:
    """S0-03: a job for another target is the first one's form with another name."""
    model = jobs["backup"]
    model.parameters = {"exclude": ["*.tmp"], "password": "open sesame"}
    model.run_timeout_s = 900
    model.save()
    client, path = as_(edda), f"/jobs/manage/add?like={model.public_id}"
    assert f'href="{path}"' in html(edda, "/jobs/manage")
    page = client.get(path).content.decode()
    assert 'value="Press line 1 backup (copy)"' in page
    assert "*.tmp" in page
    assert "open sesame" not in page
    sent = {
        "name": "Second", "target": press.public_id, "who": "automatic", "run_timeout": "15",
        "queue_timeout": "60", "p_exclude": "*.tmp",
    }  # fmt: skip
    assert client.post(path, sent).status_code == 302
    made = Job.objects.get(name="Second")
    assert (made.function, made.parameters) == (model.function, {"exclude": ["*.tmp"]})
    assert made.owner == edda


def test_what_one_may_not_see_is_no_model(jobs, edda) -> None:
    path = f"/jobs/manage/add?like={jobs['crane'].public_id}"
    assert "(copy)" not in html(edda, path)


def test_pages_keep_the_filters(jobs, alice, press, edda) -> None:
    listing = Function.objects.get(name="list")
    for n in range(30):
        factories.job(press, listing, owner=edda, name=f"Row {n:02}")
    page = html(alice, "/jobs/manage?search=row&size=25")
    assert 'href="?search=row&amp;size=25&amp;page=2"' in page
    assert listed(alice, "?search=row&size=25&page=2") == [f"Row {n}" for n in range(25, 30)]
