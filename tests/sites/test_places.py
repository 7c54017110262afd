"""A target's stored secrets stay with its address."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from sites.models import Organization, Target, User
from sites.places import save_target
from sites.problems import Refused
from tests import factories
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PASSWORD = "hunter2hunter2"
STORED = {
    "user": "backup",
    "password": PASSWORD,
    "proxy": {"url": "http://10.0.0.3", "token": PASSWORD + "1"},
    "mirrors": [{"host": "a", "password": "one-one"}, {"host": "b", "password": "two-two"}],
    "servers": ["a", "b"],
}
ELSEWHERE = "198.51.100.66"


@pytest.fixture
def line(press: Target) -> Target:
    press.settings = STORED
    press.save()
    return press


def shown(api: API, target: Target) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"targets/{target.public_id}").json()["settings"]
    assert PASSWORD not in str(found)
    return found


def test_a_target_that_moves_takes_no_hidden_secret_along(line: Target, edda: User) -> None:
    api, path = API(edda), f"targets/{line.public_id}"
    hidden = shown(api, line)
    for change in ({"address": ELSEWHERE}, {"address": ELSEWHERE, "settings": hidden}):
        answer = api.patch(path, change)
        assert answer.status_code == 422
        assert list(answer.json()["errors"]) == ["settings"]
        assert "out again, or leave it away" in answer.json()["errors"]["settings"][0]
    line.refresh_from_db()
    assert (line.address, line.settings) == ("10.20.4.11", STORED)
    moved = {"address": ELSEWHERE, "settings": {"user": "backup", "password": "another"}}
    assert api.patch(path, moved).status_code == 200
    line.refresh_from_db()
    assert (line.address, line.settings) == (ELSEWHERE, moved["settings"])


def test_nothing_is_changed_of_a_target_that_is_not_as_it_was_seen(
    line: Target, works: Organization, alice: User
) -> None:
    mine = factories.credential(works, by=alice)
    theirs = factories.credential(works, by=alice, name="Their login")
    seen = Target.objects.get(pk=line.pk)
    expected = {"moved_at": seen.moved_at, "credential_id": None}
    # Somebody puts another one there, and takes it off: that is as it was.
    save_target(Target.objects.get(pk=line.pk), credential=theirs)
    for refused in (expected, {"credential_id": mine.pk}):
        with pytest.raises(Refused, match="was changed by somebody meanwhile") as refusal:
            save_target(seen, expected=refused, credential=mine)
        assert (refusal.value.status, refusal.value.code) == (409, "changed")
    line.refresh_from_db()
    assert line.credential == theirs
    save_target(Target.objects.get(pk=line.pk), credential=None)
    # One that moves and comes back was elsewhere; one that is renamed was not.
    save_target(Target.objects.get(pk=line.pk), name="Press")
    for settings in (STORED | {"servers": ["a", ELSEWHERE]}, STORED):
        save_target(Target.objects.get(pk=line.pk), settings=settings)
        with pytest.raises(Refused, match="“Press” was changed by somebody meanwhile"):
            save_target(seen, expected=expected, credential=mine)
    seen.refresh_from_db()
    save_target(seen, expected=expected | {"moved_at": seen.moved_at}, credential=mine)
    line.refresh_from_db()
    assert line.credential == mine


@pytest.mark.parametrize(
    "change",
    [
        {"proxy": {"url": f"http://{ELSEWHERE}", "token": "••••"}},
        {"host": ELSEWHERE},
        {"servers": ["a", ELSEWHERE]},
        {"gateway_ip": ELSEWHERE},
        # Without its own host a tool falls back to another one.
        {"proxy": {"token": "••••"}},
        {"servers": ["a"]},
        # Each keeps its place and gets the other's password.
        {"mirrors": [{"host": "b", "password": "••••"}, {"host": "a", "password": "••••"}]},
    ],
)
def test_an_address_within_the_settings_counts_too(
    line: Target, edda: User, change: dict[str, Any]
) -> None:
    api = API(edda)
    answer = api.patch(f"targets/{line.public_id}", {"settings": shown(api, line) | change})
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == ["settings"]
    line.refresh_from_db()
    assert line.settings == STORED


def test_what_is_no_address_changes_beside_hidden_secrets(line: Target, edda: User) -> None:
    api, path = API(edda), f"targets/{line.public_id}"
    settings = shown(api, line) | {"user": "other", "timeout": 3}
    same = {"name": "Press", "address": line.address, "settings": settings}
    assert api.patch(path, same).status_code == 200
    line.refresh_from_db()
    assert line.settings == STORED | {"user": "other", "timeout": 3}
    line.settings = {"user": "backup"}
    line.save()
    assert api.patch(path, {"address": ELSEWHERE}).status_code == 200


def test_the_admin_asks_for_the_secrets_of_a_target_that_moves(line: Target, alice: User) -> None:
    client, page = Client(), reverse("admin:sites_target_change", args=[line.pk])
    client.force_login(alice)
    settings = json.dumps(shown(API(alice), line) | {"user": "other"})
    sent = {"name": "Press", "address": ELSEWHERE, "settings": settings}
    answer = client.post(page, sent)
    assert answer.status_code == 200
    assert "out again, or leave it away." in answer.content.decode()
    line.refresh_from_db()
    assert line.settings == STORED
    assert client.post(page, sent | {"address": line.address}).status_code == 302
    line.refresh_from_db()
    assert line.settings == STORED | {"user": "other"}
