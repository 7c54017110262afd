"""The portal's pages about credentials: what goes in there, and that no secret comes out."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from sites import credentials
from sites.access import set_role
from sites.models import Credential, Organization, Site, Target, User
from sites.places import save_target
from tests import factories
from tests.factories import KEY, SECRET
from tests.pages import as_, filled, html, rows, words
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LIST = "/sites/credentials"


def choice(target: Target) -> str:
    """How a page sends a target: with when it was moved, as it was shown."""
    moved_at = target.moved_at.isoformat() if target.moved_at else "-"
    return f"{target.public_id} {moved_at}"


def held(name: str) -> Any:
    """What a claim would be given of a credential."""
    return credentials.handed_out("", Credential.objects.get(name=name).sealed)


def read(client: Client, path: str) -> str:
    """A page as it is, after seeing that it holds no secret."""
    answer = client.get(path)
    assert answer.status_code == 200
    page: str = answer.content.decode()
    assert SECRET not in page
    assert "b3BlbnNzaC1r" not in page
    return page


def test_a_credential_is_made_changed_and_its_secret_replaced(
    works: Organization, alice: User
) -> None:
    client = as_(alice)
    assert "No credential yet" in read(client, LIST)
    sent = {"name": "Line login", "username": "plc", "secret.password": SECRET}
    made = client.post(f"{LIST}/add?kind=password", sent)
    path = f"{LIST}/{Credential.objects.get().public_id}"
    assert (made.status_code, made["Location"]) == (302, path)
    assert held("Line login") == {"password": SECRET}
    assert "by Alice" in words(read(client, path))
    [row] = rows(read(client, LIST))
    assert (row["Credential"], row["Kind"], row["Stands on"]) == (
        "Line login plc", "Password", "no target yet",
    )  # fmt: skip
    # The secret stays where nothing is written, and so does the day on which it was given.
    before = Credential.objects.get().changed_at
    assert "One is kept, set on " in words(read(client, f"{path}/edit"))
    renamed = {"name": "Press login", "username": "robot", "secret.password": ""}
    assert client.post(f"{path}/edit", renamed)["Location"] == path
    assert held("Press login") == {"password": SECRET}
    stored = Credential.objects.get()
    assert (stored.username, stored.changed_at) == ("robot", before)
    answer = client.post(f"{path}/edit", renamed | {"secret.password": SECRET[::-1]})
    assert answer.status_code == 302
    assert held("Press login") == {"password": SECRET[::-1]}
    # What it replaced is masked still, and neither is on any page.
    assert credentials.texts(Credential.objects.get().sealed) == {SECRET, SECRET[::-1]}
    for page in (LIST, path, f"{path}/edit", f"{path}/archive"):
        assert SECRET[::-1] not in read(client, page)


def test_who_replaces_a_secret_writes_no_earlier_name_back(
    works: Organization, alice: User
) -> None:
    login, client = factories.credential(works, by=alice), as_(alice)
    path = f"{LIST}/{login.public_id}"
    sent = filled(read(client, f"{path}/edit")) | {"secret.password": SECRET[::-1]}
    # A colleague is faster.
    renamed = {"name": "Press login", "username": "robot"}
    assert API(alice).patch(f"credentials/{login.public_id}", renamed).status_code == 200
    page = client.post(f"{path}/edit", sent, follow=True).content.decode()
    assert "Credential “Press login” is changed." in page
    login.refresh_from_db()
    assert (login.name, login.username) == ("Press login", "robot")
    assert held("Press login") == {"password": SECRET[::-1]}
    # What the person does change is changed, also after the page was refused once.
    wrong = filled(read(client, f"{path}/edit")) | {"name": ""}
    page = client.post(f"{path}/edit", wrong).content.decode()
    assert client.post(f"{path}/edit", filled(page) | {"name": "Robot"}).status_code == 302
    login.refresh_from_db()
    assert (login.name, login.username) == ("Robot", "robot")


@pytest.mark.parametrize(
    ("kind", "sent", "secret"),
    [
        (
            "key",
            {"secret.private_key": KEY.replace("\n", "\r\n"), "secret.passphrase": SECRET},
            {"private_key": KEY, "passphrase": SECRET},
        ),
        (
            "headers",
            {"secret.headers": f"Authorization: Bearer {SECRET}\r\n\r\nX-Line:  1 "},
            {"headers": {"Authorization": f"Bearer {SECRET}", "X-Line": "1"}},
        ),
    ],
)
def test_each_kind_is_written_as_people_have_it(
    works: Organization, alice: User, kind: str, sent: dict[str, str], secret: dict[str, Any]
) -> None:
    answer = as_(alice).post(f"{LIST}/add?kind={kind}", sent | {"name": "Robot"})
    assert answer.status_code == 302
    assert held("Robot") == secret
    assert SECRET not in html(alice, answer["Location"])


@pytest.mark.parametrize(
    ("kind", "sent", "said"),
    [
        ("password", {"secret.password": ""}, "Password: This field is required."),
        ("password", {"name": ""}, "write it once more"),
        ("password", {"name": "Taken"}, "There is a credential “Taken” already"),
        ("key", {"secret.private_key": SECRET}, "it begins with “-----BEGIN"),
        ("headers", {"secret.headers": SECRET}, "Headers: Line 1 is no “Name: value”."),
        ("headers", {"secret.headers": f"A: {SECRET}\nA: 2"}, "Line 2 names a header for the"),
        ("headers", {"secret.headers": f"A: {SECRET}\na: 2"}, "Headers: A header is named twice;"),
        ("headers", {"secret.headers": f"A b: {SECRET}"}, "A header's name has letters"),
        ("password", {"site": "00000000-0000-4000-8000-000000000000"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_stored_is_said_without_the_secret(
    works: Organization, alice: User, kind: str, sent: dict[str, str], said: str
) -> None:
    factories.credential(works, by=alice, name="Taken")
    whole = {"name": "Robot", "username": "plc", "secret.password": SECRET}
    answer = as_(alice).post(f"{LIST}/add?kind={kind}", whole | sent)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "The credential was not saved." in page
    assert said in words(page)
    assert SECRET not in page
    assert [one.name for one in Credential.objects.all()] == ["Taken"]


def test_it_stands_on_targets_and_is_archived_once_it_stands_nowhere(
    works: Organization, press: Target, hall: Site, yard: Site, alice: User, edda: User
) -> None:
    login, client, path = factories.credential(works, by=alice, site=hall), as_(alice), f"{LIST}/"
    path += str(login.public_id)
    # On offer are targets of its site, with the address to which the secret would go.
    factories.target(hall, "Nowhere", address="")
    crane = factories.target(yard, "Crane")
    offered = read(client, path)
    assert "Press line 1, Press hall (10.20.4.11)" in offered
    assert "Nowhere" not in offered
    refused = client.post(path, {"target": choice(crane)})
    assert refused.status_code == 422
    assert "It was put on no target." in refused.content.decode()
    assert client.post(path, {"target": choice(press)}).status_code == 302
    press.refresh_from_db()
    assert press.credential == login
    assert rows(read(client, LIST))[0]["Stands on"] == "Press line 1"
    assert f"/jobs/manage?target={press.public_id}" in read(client, path)
    assert "10.20.4.11 Credential: Line login" in words(read(client, "/sites"))
    # While it does, it is not put away.
    asked = words(read(client, f"{path}/archive"))
    assert "stands on 1 target, whose jobs would not be let in without it: Press line 1." in asked
    refused = client.post(f"{path}/archive", {"name": "Line login"})
    assert refused.status_code == 422
    assert "take it off there first" in refused.content.decode()
    # Who edits the target knows its name, and takes it off.
    assert "Edit credential" not in read(as_(edda), LIST)
    answer = as_(edda).post(f"{path}/targets/{press.public_id}/remove")
    assert (answer.status_code, answer["Location"]) == (302, LIST)
    press.refresh_from_db()
    assert press.credential is None
    assert as_(edda).get(path).status_code == 404
    assert client.post(f"{path}/archive", {"name": "line"}).status_code == 422
    assert client.post(f"{path}/archive", {"name": "Line login"})["Location"] == LIST
    assert Credential.objects.get().archived_at is not None
    assert "Credential “Line login” is archived." in read(client, LIST)
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("change", "stands"),
    [
        ({"address": "10.66.6.6"}, "10.66.6.6"),
        (
            {"settings": {"host": "10.66.6.6", "proxy": {"url": "http://me:open@10.0.0.3"}}},
            "10.20.4.11; settings: host 10.66.6.6, proxy.url http://me:••••@10.0.0.3",
        ),
    ],
)
def test_it_goes_only_where_the_person_saw_the_target_stand(
    works: Organization, press: Target, alice: User, edda: User,
    change: dict[str, Any], stands: str,
) -> None:  # fmt: skip
    client, path = as_(alice), f"{LIST}/{factories.credential(works, by=alice).public_id}"
    seen = choice(press)
    assert f'value="{seen}"' in read(client, path)
    assert API(edda).patch(f"targets/{press.public_id}", change).status_code == 200
    # Also who had looked for it where it stands no more is told where it does.
    refused = client.post(f"{path}?find=20.4", {"target": seen})
    assert refused.status_code == 422
    page = refused.content.decode()
    assert "“Press line 1” was changed by somebody meanwhile." in words(page)
    press.refresh_from_db()
    assert press.credential is None
    option = f'<option value="{choice(press)}">Press line 1, Press hall ({stands})</option>'
    assert option in page
    agreed = client.post(path, {"target": choice(press)}, follow=True)
    assert f"“Line login” stands on Press line 1 ({stands}); its" in words(agreed.content.decode())
    assert f"Press line 1 {stands} · Press hall" in words(read(client, path))


@pytest.mark.parametrize("sent", ["", "none", "{id}", "{id} yesterday", "{id} - 10.20.4.11"])
def test_what_names_no_target_as_it_was_shown_is_refused(
    works: Organization, press: Target, alice: User, sent: str
) -> None:
    path = f"{LIST}/{factories.credential(works, by=alice).public_id}"
    answer = as_(alice).post(path, {"target": sent.format(id=press.public_id)})
    assert answer.status_code == 422
    assert "It was put on no target." in words(answer.content.decode())
    press.refresh_from_db()
    assert press.credential is None


def test_of_many_targets_some_are_on_offer_and_all_are_found(
    works: Organization, hall: Site, alice: User
) -> None:
    login, client = factories.credential(works, by=alice), as_(alice)
    path = f"{LIST}/{login.public_id}"
    Target.objects.bulk_create(
        Target(organization=works, site=hall, name=f"Line {number:03}", address=f"10.1.1.{number}")
        for number in range(120)
    )
    page = read(client, path)
    assert (page.count("<option"), "Line 119" in page) == (101, False)
    found = read(client, f"{path}?find=LINE+11")
    assert found.count("<option") == 11
    # A page that was refused leads on: to its other pages, and to others that are found.
    refused = client.post(f"{path}?find=LINE", {"target": "none"})
    assert refused.status_code == 422
    page = refused.content.decode()
    assert (page.count("<option"), 'name="find" value="LINE"' in page) == (101, True)
    assert re.search(r'<select name="target"[^>]* autofocus', page)
    assert client.get(refused.request["PATH_INFO"], {"find": "LINE 11"}).status_code == 200
    assert client.post(path, {"target": choice(Target.objects.last())}).status_code == 302
    Target.objects.update(credential=login)
    assert read(client, path).count("Take it off") == 50
    refused = client.post(f"{path}?find=LINE", {"target": "none"})
    [link] = re.findall(r'href="(\?[^"]*page=2[^"]*)"', refused.content.decode())
    assert "Line 099" in read(client, refused.request["PATH_INFO"] + unescape(link))
    assert "Line 119" in read(client, f"{path}?page=3")
    # Elsewhere the first of them are named, and the others counted.
    [row] = rows(read(client, LIST))
    assert row["Stands on"] == "Line 000, Line 001, Line 002 and 117 others"
    asked = words(read(client, f"{path}/archive"))
    assert "stands on 120 targets, whose jobs would not be let in without it: Line 000," in asked
    assert "Line 003, Line 004 and 115 others." in asked


def test_of_its_targets_each_sees_their_own(
    works: Organization, press: Target, yard: Site, alice: User, edda: User
) -> None:
    login = factories.credential(works, by=alice)
    for target in (press, factories.target(yard, "Crane"), factories.target(yard, "Dock")):
        save_target(target, credential=login)
    for person, seen in ((alice, "Crane, Dock, Press line 1"), (edda, "Press line 1")):
        [row] = rows(read(as_(person), LIST))
        assert row["Stands on"] == seen


def test_the_maintainer_of_a_site_adds_and_sees_those_of_that_site(
    works: Organization, hall: Site, yard: Site, alice: User, edda: User
) -> None:
    set_role(edda, "maintainer", on=hall)
    factories.credential(works, by=alice, name="Cloud login")
    factories.credential(works, by=alice, name="Crane login", site=yard)
    client = as_(edda)
    form = read(client, f"{LIST}/add")
    assert (">Press hall<" in form, ">Yard<" in form, "All sites" in form) == (True, False, False)
    sent = {"name": "Hall login", "secret.password": SECRET}
    assert client.post(f"{LIST}/add", sent).status_code == 422
    foreign = client.post(f"{LIST}/add", sent | {"site": str(yard.public_id)})
    assert foreign.status_code == 422
    assert client.post(f"{LIST}/add", sent | {"site": str(hall.public_id)}).status_code == 302
    assert [row["Credential"] for row in rows(read(client, LIST))] == ["Hall login"]


def test_another_organization_sees_none_of_it(
    works: Organization, press: Target, elsewhere: Organization, alice: User, oscar: User
) -> None:
    login = factories.credential(works, by=alice)
    own = factories.credential(elsewhere, by=oscar, name="Own login")
    API(alice).patch(f"targets/{press.public_id}", {"credential": str(login.public_id)})
    client, path = as_(oscar), f"{LIST}/{login.public_id}"
    assert [row["Credential"] for row in rows(read(client, LIST))] == ["Own login plc"]
    for page in (path, f"{path}/edit", f"{path}/archive"):
        assert client.get(page).status_code == 404
        assert client.post(f"{path}/edit", {"name": "Mine"}).status_code == 404
    # Neither does his own go to a target of theirs, nor does theirs come off.
    answer = client.post(f"{LIST}/{own.public_id}", {"target": choice(press)})
    assert answer.status_code == 422
    answer = client.post(f"{LIST}/{own.public_id}/targets/{press.public_id}/remove")
    assert answer.status_code == 404
    press.refresh_from_db()
    assert (press.credential, Credential.objects.get(pk=login.pk).name) == (login, "Line login")


def test_the_pages_take_as_many_queries_for_three_as_for_one(
    works: Organization, hall: Site, alice: User, django_assert_num_queries: Any
) -> None:
    client = as_(alice)
    login = factories.credential(works, by=alice)
    for number in (1, 2, 3):
        target = factories.target(hall, f"Line {number}")
        API(alice).patch(f"targets/{target.public_id}", {"credential": str(login.public_id)})
        if number != 2:
            factories.credential(works, by=alice, name=f"Login {number}")
            with django_assert_num_queries(10):
                assert client.get(LIST).status_code == 200
            with django_assert_num_queries(11):
                assert client.get(f"{LIST}/{login.public_id}").status_code == 200
            with django_assert_num_queries(9):
                assert client.get(f"{LIST}/{login.public_id}/archive").status_code == 200
