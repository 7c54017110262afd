"""A target's settings, typed into the admin, are read as strictly as from a program."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from sites.models import Target, User

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r'{"user": "\ud800"}', "lone surrogates"),
        (r'{"user": "\u0000"}', "NUL"),
        ('{"port": NaN}', "NaN is not JSON"),
        ('{"port": Infinity}', "Infinity is not JSON"),
        ('{"port": 1e999}', "larger than a double"),
        ("[" * 3000 + "]" * 3000, "Nested deeper"),
        ('{"user": "a", "user": "b"}', "same key twice"),
        ('{"user": ', "This is not JSON"),
    ],
)
def test_settings_that_no_column_can_hold_are_an_error_of_the_field(
    text: str, words: str, press: Target, alice: User
) -> None:
    press.settings = {"user": "backup", "password": "hunter2"}
    press.save()
    client, page = Client(), reverse("admin:sites_target_change", args=[press.pk])
    client.force_login(alice)
    sent = {"name": "Other", "address": press.address, "settings": text}
    answer = client.post(page, sent)
    assert answer.status_code == 200
    told = unescape(answer.content.decode())
    assert words in told
    assert text in told  # to be mended
    assert "hunter2" not in told
    press.refresh_from_db()
    assert (press.name, press.settings["user"]) == ("Press line 1", "backup")
    good = sent | {"settings": '{"user": "ü", "password": "••••"}'}
    assert client.post(page, good).status_code == 302
    press.refresh_from_db()
    assert press.settings == {"user": "ü", "password": "hunter2"}
