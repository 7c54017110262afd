"""A list that is sent as a whole holds what its pages hold: as CSV or as one object a line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished

from jobs.models import Job
from sites import places
from sites.models import Organization, Site, Target, User
from tests import factories
from tests.people import API


def lines(api: API, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = api.get(path, format="ndjson", **query)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/x-ndjson; charset=utf-8"
    return [json.loads(line) for line in b"".join(answer).decode().splitlines()]


def cells(api: API, path: str, **query: Any) -> list[dict[str, str]]:
    answer = api.get(path, format="csv", **query)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="{path}.csv"'
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode(), newline="")))


def names(rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read two rows at once, so that a handful takes several turns."""
    monkeypatch.setattr("sites.export.AT_ONCE", 2)


@pytest.fixture
def presses(hall: Site, yard: Site) -> list[str]:
    """Five targets at the hall and one that Edda does not see."""
    factories.target(yard, "Crane")
    return [factories.target(hall, f"Press {number}").name for number in range(1, 6)]


@pytest.mark.usefixtures("small")
def test_a_whole_list_is_narrowed_sorted_and_as_long_as_one_sees(
    presses: list[str], hall: Site, edda: User, alice: User
) -> None:
    api = API(edda)
    assert lines(api, "targets") == api.get("targets").json()["results"]
    assert names(lines(api, "targets")) == presses
    assert names(cells(api, "targets", ordering="-name")) == presses[::-1]
    assert names(cells(api, "targets", search="press 4")) == ["Press 4"]
    assert names(lines(API(alice), "targets")) == ["Crane", *presses]
    assert names(lines(API(alice), "targets", site=str(hall.public_id))) == presses


def test_the_header_accept_asks_for_it_too(presses: list[str], edda: User) -> None:
    answer = API(edda).request("GET", "targets", Accept="text/csv")
    head, *rows = b"".join(answer).decode().splitlines()
    assert head.startswith("id,organization,site,name,kind,address,settings,credential.id")
    assert len(rows) == len(presses)
    assert API(edda).request("GET", "targets", Accept="image/png").status_code == 406


@pytest.mark.usefixtures("small")
def test_beyond_the_most_the_last_line_says_where_it_goes_on(
    presses: list[str], edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sites.export.MOST", 3)
    api = API(edda)
    *first, last = lines(api, "targets", ordering="-name")
    assert last.keys() == {"next"}
    rest = [json.loads(line) for line in b"".join(api.get(last["next"])).splitlines()]
    assert names([*first, *rest]) == presses[::-1]
    *first, last = cells(api, "targets")
    words, _, following = last["id"].partition(" at ")
    assert words == "Here are 3 rows; the next ones are"
    rest = list(csv.DictReader(io.StringIO(b"".join(api.get(following)).decode())))
    assert names([*first, *rest]) == presses


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"format": "csv", "page_size": "5"}, "page_size"),
        ({"format": "csv", "ordering": "secret"}, "ordering"),
        ({"format": "csv", "cursor": "nonsense"}, "cursor"),
        ({"format": "csv", "colour": "red"}, "colour"),
        ({"format": "xml"}, "format"),
    ],
)
@pytest.mark.once
def test_what_it_does_not_take_is_said(query: dict[str, str], field: str, edda: User) -> None:
    answer = API(edda).get("targets", **query)
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    assert list(answer.json()["errors"]) == [field]


@pytest.mark.once
def test_a_cursor_that_leads_back_begins_no_whole_list(presses: list[str], edda: User) -> None:
    api = API(edda)
    second = api.get(api.get("targets", page_size=2).json()["next"]).json()
    back = second["previous"].replace("page_size=2", "format=ndjson")
    assert api.get(back).json()["errors"].keys() == {"cursor"}


@pytest.mark.once
def test_no_cell_is_a_formula_and_no_secret_leaves(press: Target, job: Job, edda: User) -> None:
    places.save_target(press, name="=1+1", settings={"password": "open sesame"})
    Job.objects.filter(pk=job.pk).update(parameters={"password": "open sesame"}, tags=["@a", "b"])
    (target,) = cells(API(edda), "targets")
    assert (target["name"], target["settings"]) == ("'=1+1", '{"password": "••••"}')
    (saved,) = cells(API(edda), "jobs")
    assert saved["parameters"] == '{"password": "••••"}'
    assert saved["tags"] == '["@a", "b"]'
    assert saved["target.name"] == "'=1+1"
    assert (saved["agent.id"], saved["auto_commit"]) == ("", "true")


def test_what_one_may_not_inspect_is_an_empty_cell(press: Target, manuel: User) -> None:
    (row,) = cells(API(manuel), "targets")
    assert (row["name"], row["address"], row["settings"]) == (press.name, "", "")


@pytest.mark.usefixtures("small")
def test_a_run_leaves_without_its_inputs(job: Job, edda: User, mia: User) -> None:
    made = [factories.run(job, by=edda)]
    api = API(edda)
    assert lines(api, "runs") == api.get("runs").json()["results"]
    (row,) = cells(api, "runs")
    assert row["id"] == str(made[0].public_id)
    assert not [name for name in row if name.startswith("inputs")]
    assert cells(API(mia), "runs") == []
    answer = api.get(f"runs/{made[0].public_id}/inputs", format="csv")
    assert answer.status_code == 422


def test_a_person_has_one_whole_list_at_once(
    presses: list[str], edda: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = API(edda)
    first = api.get("targets", format="csv")
    next(iter(first))
    second = api.get("sites", format="ndjson")
    assert (second.status_code, second["Retry-After"]) == (429, "30")
    assert second.json()["code"] == "too_many_requests"
    assert api.get("sites").status_code == 200
    assert len(lines(API(alice), "targets")) == 6
    with monkeypatch.context() as patch:
        # What else happens then would close the test's own connection.
        patch.setattr(request_finished, "send", lambda **_: [])
        first.close()
    assert len(lines(api, "targets")) == len(presses)


@pytest.mark.usefixtures("small")
def test_each_turn_takes_the_same_number_of_queries(
    works: Organization, hall: Site, edda: User, django_assert_num_queries: Any
) -> None:
    """Three for two targets: their ids, the rows, what of them may be read."""
    api = API(edda)
    for number in range(1, 7):
        factories.target(hall, f"Press {number}")
        if number % 2:
            continue
        answer = api.get("targets", format="ndjson")
        pieces = iter(answer)
        for _ in range(number // 2):
            with django_assert_num_queries(3):
                assert len(next(pieces).splitlines()) == 2
        assert list(pieces) == []
