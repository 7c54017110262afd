"""Credentials: who gives and places them, how they lie in the database, how their keys change."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from sites import credentials, encryption
from sites.access import set_role
from sites.models import Credential, Organization, Site, Target, User
from sites.problems import Refused
from tests import factories
from tests.factories import KEY, SECRET
from tests.pages import as_
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def body(works: Organization, **more: Any) -> dict[str, Any]:
    return {
        "organization": str(works.public_id),
        "name": "Line login",
        "kind": "password",
        "username": "plc",
        "secret": {"password": SECRET},
    } | more


def test_a_secret_goes_in_and_is_never_read_again(works: Organization, alice: User) -> None:
    api = API(alice)
    made = api.post("credentials", body(works))
    assert made.status_code == 201
    told = made.json()
    assert (told["name"], told["kind"], told["username"]) == ("Line login", "password", "plc")
    assert told["changed_by"]["name"] == "Alice"
    path = f"credentials/{told['id']}"
    other = SECRET[::-1]
    answers = [
        made,
        api.get("credentials"),
        api.get(path),
        api.patch(path, {"secret": {"password": other}, "name": "Login"}),
        api.patch(path, {"secret": {"password": other, "private_key": SECRET}}),
        api.patch(path, {"secret": {"headers": {"A": SECRET}}}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 422, 422]
    for answer in answers:
        assert SECRET not in answer.content.decode()
        assert other not in answer.content.decode()
    stored = Credential.objects.get()
    assert SECRET not in stored.sealed
    assert credentials.handed_out("", stored.sealed) == {"password": other}
    assert credentials.texts(stored.sealed) == {SECRET, other}


@pytest.mark.parametrize(
    ("kind", "secret", "field"),
    [
        ("password", {}, "secret.password"),
        ("password", {"password": ""}, "secret.password"),
        ("password", {"password": SECRET, "passphrase": "x"}, "secret.passphrase"),
        ("key", {"private_key": SECRET}, "secret.private_key"),
        ("headers", {"headers": {}}, "secret.headers"),
        ("headers", {"headers": {"A b": SECRET}}, "secret.headers"),
        ("headers", {"headers": {"A": f"{SECRET}\r\nHost: elsewhere"}}, "secret.headers"),
        ("headers", {"headers": {"A": SECRET, "a": "2"}}, "secret.headers"),
        ("headers", {"headers": {f"A-{number}": SECRET for number in range(21)}}, "secret.headers"),
    ],
)
def test_what_is_no_secret_of_its_kind_is_refused(
    works: Organization, alice: User, kind: str, secret: dict[str, Any], field: str
) -> None:
    answer = API(alice).post("credentials", body(works, kind=kind, secret=secret))
    assert answer.status_code == 422
    assert any(name.startswith(field) for name in answer.json()["errors"])
    assert SECRET not in answer.content.decode()
    assert not Credential.objects.exists()


def test_a_key_is_stored_with_lines_as_programs_read_them(works: Organization, alice: User) -> None:
    api, sent = API(alice), {"private_key": KEY.replace("\n", "\r\n")}
    made = api.post("credentials", body(works, kind="key", secret=sent))
    assert made.status_code == 201
    stored = Credential.objects.get()
    assert credentials.handed_out("", stored.sealed) == {"private_key": KEY}
    sent["passphrase"] = SECRET
    assert api.patch(f"credentials/{stored.public_id}", {"secret": sent}).status_code == 200
    stored.refresh_from_db()
    assert credentials.handed_out("", stored.sealed) == sent | {"private_key": KEY}


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("key", {"private_key": KEY, "passphrase": SECRET}),
        ("headers", {"headers": {"Authorization": f"Bearer {SECRET}"}}),
    ],
)
def test_each_kind_goes_out_as_it_came_in(
    works: Organization, alice: User, kind: str, secret: dict[str, Any]
) -> None:
    made = credentials.add(Credential(organization=works, name="c", kind=kind), secret, by=alice)
    assert credentials.handed_out("plc", made.sealed) == {"username": "plc"} | secret
    # Also alone, without what stands beside it.
    assert SECRET in credentials.texts(made.sealed)


def test_who_may_place_a_credential_on_a_target(
    works: Organization, hall: Site, yard: Site, press: Target, elsewhere: Organization,
    alice: User, edda: User, oscar: User,
) -> None:  # fmt: skip
    login, path = factories.credential(works, by=alice), f"targets/{press.public_id}"
    named = {"credential": str(login.public_id)}
    # Edda edits the press and has never heard of it; once it stands there, she knows its name.
    assert API(edda).patch(path, named).status_code == 422
    assert API(alice).patch(path, named).json()["credential"]["name"] == "Line login"
    assert API(edda).get(path).json()["credential"]["name"] == "Line login"
    line = factories.target(hall, "Press line 2")
    assert API(edda).patch(f"targets/{line.public_id}", named).status_code == 403
    # A maintainer of the site has its own, which is for no other site.
    set_role(edda, "maintainer", on=hall)
    site = {"site": str(hall.public_id), "organization": str(works.public_id), "name": "Hall"}
    answer = API(edda).post("credentials", body(works) | site)
    assert answer.status_code == 201
    own = {"credential": answer.json()["id"]}
    assert API(edda).patch(f"targets/{line.public_id}", own).status_code == 200
    other = factories.target(yard, "Crane")
    refused = API(alice).patch(f"targets/{other.public_id}", own)
    assert refused.status_code == 422
    assert "another site" in refused.json()["detail"]
    foreign = factories.credential(elsewhere, by=oscar)
    refused = API(alice).patch(path, {"credential": str(foreign.public_id)})
    assert refused.json()["errors"] == {"credential": ["No such credential."]}


def test_a_credential_goes_to_no_other_address_by_itself(
    works: Organization, press: Target, alice: User, edda: User
) -> None:
    login, path = factories.credential(works, by=alice), f"targets/{press.public_id}"
    named = {"credential": str(login.public_id)}
    assert API(alice).patch(path, named).status_code == 200
    for moving in ({"address": "10.66.6.6"}, {"settings": {"host": "10.66.6.6"}}):
        for who in (edda, alice):
            refused = API(who).patch(path, moving)
            assert refused.status_code == 422
            assert "“Line login” was put here for the present address" in refused.json()["detail"]
        # Naming it anew is for who may manage it.
        assert API(edda).patch(path, moving | named).status_code == 403
    page = reverse("admin:sites_target_change", args=[press.pk])
    form = {"name": "P", "address": "10.66.6.6", "settings": "{}", "credential": login.pk}
    assert "goes to no other one by itself" in as_(alice).post(page, form).content.decode()
    press.refresh_from_db()
    assert (press.address, press.credential) == ("10.20.4.11", login)
    assert API(alice).patch(path, {"address": "10.20.4.12"} | named).status_code == 200
    assert API(edda).patch(path, {"address": "10.6.6.6", "credential": None}).status_code == 200
    press.refresh_from_db()
    assert (press.address, press.credential) == ("10.6.6.6", None)


def test_a_credential_stands_only_where_there_is_an_address(
    works: Organization, hall: Site, alice: User
) -> None:
    """A job's parameters would say where it goes, and any editor writes those."""
    named = {"credential": str(factories.credential(works, by=alice).public_id)}
    path = f"targets/{factories.target(hall, 'Anywhere', address='').public_id}"
    assert list(API(alice).patch(path, named).json()["errors"]) == ["credential"]
    assert API(alice).patch(path, named | {"address": "10.20.4.9"}).status_code == 200
    assert API(alice).patch(path, named | {"address": ""}).status_code == 422
    place = {"site": str(hall.public_id), "name": "Nowhere"}
    assert API(alice).post("targets", place | named).status_code == 422


def test_a_credential_is_archived_once_it_stands_nowhere(
    works: Organization, press: Target, alice: User
) -> None:
    login, api = factories.credential(works, by=alice), API(alice)
    path = f"credentials/{login.public_id}"
    api.patch(f"targets/{press.public_id}", {"credential": str(login.public_id)})
    refused = api.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert "“Press line 1”" in refused.json()["detail"]
    api.patch(f"targets/{press.public_id}", {"credential": None})
    assert api.delete(path).status_code == 204
    assert api.get("credentials").json()["results"] == []
    again = api.patch(f"targets/{press.public_id}", {"credential": str(login.public_id)})
    assert again.status_code == 422
    # Its name is free.
    factories.credential(works, by=alice)
    with pytest.raises(Refused) as refusal:
        factories.credential(works, by=alice)
    assert refusal.value.code == "name_taken"


def test_the_admin_takes_a_secret_and_shows_none(works: Organization, alice: User) -> None:
    client, add = as_(alice), reverse("admin:sites_credential_add")
    form = {"organization": works.pk, "name": "Robot", "username": "plc", "kind": "key"}
    wrong = client.post(add, form | {"private_key": SECRET, "headers": json.dumps({"A": SECRET})})
    assert wrong.status_code == 200
    assert "begins with" in wrong.content.decode()
    assert SECRET not in wrong.content.decode()
    sent = form | {"private_key": KEY.replace("\n", "\r\n"), "passphrase": SECRET}
    assert client.post(add, sent).status_code == 302
    made = Credential.objects.get()
    assert made.changed_by == alice
    kept = {"private_key": KEY, "passphrase": SECRET}
    assert credentials.handed_out("", made.sealed) == kept
    change = reverse("admin:sites_credential_change", args=[made.pk])
    assert client.post(change, {"name": "Robot 2", "username": "plc"}).status_code == 302
    made.refresh_from_db()
    assert (made.name, credentials.handed_out("", made.sealed)) == ("Robot 2", kept)
    for page in (change, reverse("admin:sites_credential_changelist")):
        shown = client.get(page).content.decode()
        assert "Robot 2" in shown
        assert SECRET not in shown
        assert "b3BlbnNzaC1r" not in shown
        assert made.sealed not in shown


# --- keys ----------------------------------------------------------------------------------------
@pytest.fixture
def own_keys(settings: Any, tmp_path: Any) -> Any:
    settings.DATA_DIR = tmp_path
    return tmp_path / "credential-keys"


def test_keys_are_rotated_while_the_portal_serves(
    own_keys: Any, works: Organization, alice: User
) -> None:
    login = factories.credential(works, by=alice)
    assert own_keys.stat().st_mode & 0o777 == 0o600
    [first] = own_keys.read_text().split()
    for number in (2, 3):  # twice: the second time does no harm
        call_command("rotate_keys", stdout=StringIO())
        assert len(own_keys.read_text().split()) == number
    newest, *older = own_keys.read_text().split()
    assert older[-1] == first
    login.refresh_from_db()
    # What another process had read before, and writes after.
    late = factories.credential(works, by=alice, name="Late")
    own_keys.write_text(f"{first}\n")
    Credential.objects.filter(pk=late.pk).update(
        sealed=encryption.sealed({"now": {"password": SECRET}, "before": []})
    )
    own_keys.write_text("\n".join([newest, *older]))
    assert {credentials.handed_out("", c.sealed)["password"] for c in Credential.objects.all()} == {
        SECRET
    }
    call_command("rotate_keys", "--drop-old", stdout=StringIO())
    assert own_keys.read_text().split() == [newest]
    assert own_keys.stat().st_mode & 0o777 == 0o600
    assert {credentials.handed_out("", c.sealed)["password"] for c in Credential.objects.all()} == {
        SECRET
    }


def test_keys_of_the_setting_are_used_newest_first(
    own_keys: Any, settings: Any, works: Organization, alice: User
) -> None:
    from cryptography.fernet import Fernet

    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.CREDENTIAL_KEYS = [old]
    login = factories.credential(works, by=alice)
    assert not own_keys.exists()
    settings.CREDENTIAL_KEYS = [new, old]
    call_command("rotate_keys", stdout=StringIO())
    settings.CREDENTIAL_KEYS = [new]
    login.refresh_from_db()
    assert credentials.handed_out("", login.sealed) == {"password": SECRET}
    with pytest.raises(CommandError, match="CREDENTIAL_KEYS"):
        call_command("rotate_keys", "--drop-old")


def test_a_lost_key_drops_nothing_and_a_new_secret_heals(
    own_keys: Any, works: Organization, alice: User, caplog: Any
) -> None:
    login = factories.credential(works, by=alice)
    own_keys.unlink()
    with pytest.raises(CommandError, match="cannot be decrypted"):
        call_command("rotate_keys")
    assert credentials.handed_out("plc", login.sealed) == {}
    assert "cannot be decrypted" in caplog.text
    credentials.change(login, by=alice, secret={"password": "another"})
    login.refresh_from_db()
    assert credentials.handed_out("", login.sealed) == {"password": "another"}


def test_a_rotation_leaves_a_secret_that_is_replaced_meanwhile(
    own_keys: Any, works: Organization, alice: User, monkeypatch: Any
) -> None:
    login = factories.credential(works, by=alice)
    encryption.add_key()
    anew = encryption.sealed_anew

    def meanwhile(text: str) -> str | None:
        credentials.change(login, by=alice, secret={"password": "another"})
        return anew(text)

    monkeypatch.setattr(encryption, "sealed_anew", meanwhile)
    assert credentials.seal_all_anew() == 0
    login.refresh_from_db()
    assert credentials.handed_out("", login.sealed) == {"password": "another"}
