"""Targets leave as CSV and come back: looked at first, all or none, by the rules, no secrets."""

from __future__ import annotations

import csv
import html
import io
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from sites import places
from sites.access import set_role
from sites.export import Turn
from sites.models import Event, Membership, Organization, Site, Target, User
from tests import factories
from tests.pages import as_

LIST = "admin:sites_target_changelist"


def exported(user: User, model: str = "sites_target") -> list[dict[str, str]]:
    answer: Any = as_(user).get(reverse(f"admin:{model}_export_csv"))
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def written(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def look(user: User, data: bytes, model: str = "sites_target") -> Any:
    file = SimpleUploadedFile("rows.csv", data)
    return as_(user).post(reverse(f"admin:{model}_import_csv"), {"file": file})


def confirm(user: User, looked: Any, model: str = "sites_target") -> Any:
    """Press the button on the page that says what would happen."""
    page = looked.content.decode()
    found = re.search(r'name="text" value="([^"]*)"', page)
    assert found, page[-3000:]
    sent = {"text": html.unescape(found[1]), "keep": "1"}
    return as_(user).post(reverse(f"admin:{model}_import_csv"), sent, follow=True)


def told(page: Any) -> str:
    return html.unescape(page.content.decode())


@pytest.fixture
def rows(press: Target, alice: User) -> list[dict[str, str]]:
    """Targets as they leave: one with a secret, two whose names a spreadsheet would misread."""
    places.save_target(press, settings={"user": "op", "password": "open sesame"})
    factories.target(press.site, "=Pump")
    factories.target(press.site, "'=Pump")
    return exported(alice)


def test_what_leaves_comes_back_as_it_was(
    rows: list[dict[str, str]], press: Target, alice: User
) -> None:
    assert [row["name"] for row in rows] == ["Press line 1", "'=Pump", "''=Pump"]
    assert rows[0]["settings"] == '{"user": "op", "password": "••••"}'
    before = Event.objects.count()
    looked = look(alice, written(rows))
    assert told(looked).count("as it was") == 3
    assert "3 rows were imported." in told(confirm(alice, looked))
    assert Event.objects.count() == before
    press.refresh_from_db()
    assert press.settings["password"] == "open sesame"


def test_each_row_is_looked_at_before_anything_is_written(
    rows: list[dict[str, str]], press: Target, hall: Site, alice: User
) -> None:
    rows[0] |= {"name": "Press line 9", "settings": '{"user": "me", "password": "••••"}'}
    new = rows[0] | {"id": "", "name": "Crane", "kind": "system", "settings": ""}
    before = Event.objects.count()
    looked = look(alice, written([*rows, new]))
    text = told(looked)
    for words in ("changed: name, settings", "as it was", "new", "Nothing was written yet."):
        assert words in text
    assert Event.objects.count() == before
    assert not Target.objects.filter(name="Crane").exists()
    assert "4 rows were imported." in told(confirm(alice, looked))
    press.refresh_from_db()
    assert (press.name, press.settings) == (
        "Press line 9",
        {"user": "me", "password": "open sesame"},
    )
    crane = Target.objects.get(name="Crane")
    assert (crane.site, crane.kind, crane.created_by) == (hall, "system", alice)
    assert Event.objects.count() == before + 2


def test_one_wrong_row_keeps_all_of_them_out_and_each_says_what_is_wrong(
    rows: list[dict[str, str]], alice: User, press: Target
) -> None:
    new = rows[0] | {"id": "", "settings": "{}"}
    wrong = {
        "There is no site “Quay”": new | {"site": "Quay", "name": "A"},
        "“x” is no id": new | {"id": "x", "name": "B"},
        "There is no such target.": new | {"id": str(alice.public_id), "name": "C"},
        "for good": rows[0] | {"kind": "system"},
        "settings: This is not JSON": new | {"settings": "{", "name": "D"},
        "Write a JSON object.": new | {"settings": "[]", "name": "E"},
        "A number is larger than 64 bits.": new | {"settings": "9" * 5000, "name": "H"},
        "There is a target “Press line 1” here already.": new,
        "name: This field cannot be blank.": new | {"name": ""},
        "kind: Value 'boat' is not a valid choice.": new | {"kind": "boat", "name": "F"},
        "“password” has no stored value": new | {"settings": '{"password": "••••"}', "name": "G"},
    }
    good = new | {"name": "Good"}
    looked = look(alice, written([good, *wrong.values()]))
    assert looked.status_code == 422
    text = told(looked)
    assert f"{len(wrong)} of {len(wrong) + 1} rows cannot be imported, so none is." in text
    for words in wrong:
        assert words in text, words
    sent = {"text": written([good, *wrong.values()]).decode(), "keep": "1"}
    assert as_(alice).post(reverse("admin:sites_target_import_csv"), sent).status_code == 422
    assert Target.objects.count() == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"name,colour\nx,red\n", "“colour” is none of them"),
        (b"name,name\nx,x\n", "each stands there once"),
        (b"name,site\nx\n", "Line 2 has 1 cells"),
        (b'name\n"x', "is no CSV"),
        (b"name\n" + b"x\n" * 501, "more than 500 rows"),
        (b"name\n" + b"x" * 1024 * 1024, "larger than 1 MB"),
        (b"name\na\x00b\n", "NUL"),
    ],
    ids=["utf-8", "column", "twice", "cells", "csv", "rows", "size", "nul"],
)
@pytest.mark.once
def test_a_file_that_is_none_is_said_to_be_so(data: bytes, words: str, alice: User) -> None:
    answer = look(alice, data)
    assert answer.status_code == 422
    assert words in told(answer)


@pytest.mark.once
def test_a_secret_follows_no_row_to_another_address(
    rows: list[dict[str, str]], press: Target, works: Organization, alice: User
) -> None:
    places.save_target(press, credential=factories.credential(works, by=alice))
    looked = look(alice, written([rows[0] | {"address": "10.9.9.9"}]))
    assert looked.status_code == 422
    assert "a stored secret goes to no other one" in told(looked)
    bare = rows[1] | {"id": rows[0]["id"], "name": press.name, "address": "10.9.9.9"}
    looked = look(alice, written([bare | {"settings": "{}"}]))
    assert "Credential “Line login” was put here for the present address" in told(looked)
    press.refresh_from_db()
    assert press.address == "10.20.4.11"


def test_each_takes_and_brings_what_is_theirs_alone(
    rows: list[dict[str, str]], oscar: User, root: User, mia: User, press: Target
) -> None:
    assert exported(oscar) == []
    assert len(exported(root)) == 3
    foreign = look(oscar, written([rows[0] | {"name": "Stolen"}, rows[0] | {"id": ""}]))
    assert foreign.status_code == 422
    assert "There is no such target." in told(foreign)
    assert "There is no site “Press hall”" in told(foreign)
    # Superusers have no hand in what belongs to an organization.
    assert look(root, written(rows)).status_code == 403
    assert look(mia, written(rows)).status_code == 302
    press.refresh_from_db()
    assert press.name == "Press line 1"


def test_a_file_speaks_of_administered_organizations_alone(
    alice: User, elsewhere: Organization
) -> None:
    """Who edits a site of another organization does so in the portal, not in the admin."""
    quay = factories.site(elsewhere, "Quay")
    crane = factories.target(quay, "Crane")
    Membership.objects.create(organization=elsewhere, user=alice, role="member")
    set_role(alice, "editor", on=quay)
    for row in ({"id": crane.public_id, "name": "Renamed"}, {"site": "Quay", "name": "New"}):
        answer = look(alice, written([row]))
        assert answer.status_code == 422
    assert list(Target.objects.filter(site=quay).values_list("name", flat=True)) == ["Crane"]


@pytest.mark.once
def test_one_file_is_sent_at_a_time(rows: list[dict[str, str]], alice: User) -> None:
    turn = Turn(alice)
    assert turn.take()
    browser, page = as_(alice), reverse("admin:sites_target_export_csv")
    refused = browser.get(page, follow=True)
    assert refused.redirect_chain == [(reverse(LIST), 302)]
    assert "Another list is being sent to you" in told(refused)
    turn.end()
    assert len(exported(alice)) == len(exported(alice)) == 3


@pytest.mark.once
def test_a_file_that_is_cut_says_so(
    rows: list[dict[str, str]], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sites.access.sheet_admin.MOST", 2)
    sent = exported(alice)
    assert [row["name"] for row in sent[:2]] == [row["name"] for row in rows[:2]]
    assert [row["id"] for row in sent[2:]] == ["Here are the first 2 rows; the API gives the rest."]
