"""What EMAIL_URL means to Django, and what it cannot mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.mail_url import mail_at

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("url", "port", "protected"),
    [
        ("smtp://mail.example.com", 25, set()),
        ("smtp+tls://yard:p%40ss@mail.example.com", 587, {"EMAIL_USE_TLS"}),
        ("smtps://yard:p%40ss@mail.example.com", 465, {"EMAIL_USE_SSL"}),
        ("smtps://mail.example.com:2465", 2465, {"EMAIL_USE_SSL"}),
    ],
)
def test_a_server_is_named_in_one_address(url: str, port: int, protected: set[str]) -> None:
    found = mail_at(url, Path("mail"))
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example.com", port)
    assert {name for name in found if name.startswith("EMAIL_USE_")} == protected
    who = ("yard", "p@ss") if "yard" in url else ("", "")
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == who
    assert found["EMAIL_TIMEOUT"]


def test_without_a_server_mail_lies_in_the_folder() -> None:
    assert mail_at("", Path("var/mail"))["EMAIL_FILE_PATH"] == "var/mail"


@pytest.mark.parametrize("url", ["mail.example.com", "http://mail.example.com", "smtp://"])
def test_what_is_no_server_stops_the_start(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"smtp\+tls://"):
        mail_at(url, Path("mail"))
