"""Behind proxies a request is the client's, in limits and in records, whatever the client says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.test import Client

from agents import enrolment
from agents.models import Agent
from sites.models import Organization, User
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.once]

PROXY = "10.0.0.1"
_names = itertools.count()


def enroll(works: Organization, by: User, **headers: str) -> str | None:
    """Enrol a program over HTTP and give the address that is shown of it."""
    made, code = enrolment.add_agent(works, name=f"agent {next(_names)}", by=by)
    body = {"code": code, "version": "1", "platform": "x", "tools": [factories.FOLDER]}
    answer = Client(REMOTE_ADDR=PROXY, headers=headers).post(
        "/api/v1/agent/enroll", body, content_type="application/json"
    )
    assert answer.status_code == 201
    return Agent.objects.get(pk=made.pk).address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "192.0.2.7", PROXY),  # nobody in front: anyone can write the header
        (1, "192.0.2.7", "192.0.2.7"),
        (1, "198.51.100.66, 192.0.2.7", "192.0.2.7"),  # the first entry is what the client says
        (2, "198.51.100.66, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        (2, "192.0.2.7", "192.0.2.7"),
        (1, "192.0.2.7:52114", "192.0.2.7"),
        (1, "[2001:db8::7]:52114", "2001:db8::7"),
        (1, "2001:db8::7", "2001:db8::7"),
        (1, "unknown", PROXY),
        (1, "fe80::1%eth0", PROXY),
        (1, "", PROXY),
    ],
)
def test_an_agents_address_is_the_one_that_the_trusted_proxy_saw(
    works: Organization,
    alice: User,
    settings: Any,
    proxies: int,
    forwarded: str,
    address: str,
) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert enroll(works, alice, **headers) == address


def test_log_ins_are_limited_for_each_client_behind_a_proxy(settings: Any, mia: User) -> None:
    settings.TRUSTED_PROXIES = 1
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "3/m/ip"}

    def log_in(password: str, client: str, claims: str) -> Any:
        headers = {"X-Forwarded-For": f"{claims}, {client}"}
        browser = Client(REMOTE_ADDR=PROXY, headers=headers)
        return browser.post("/accounts/login/", {"login": "mia", "password": password})

    for number in range(3):
        log_in("wrong", "192.0.2.7", f"198.51.100.{number}")
    assert log_in(factories.PASSWORD, "192.0.2.7", "198.51.100.9").status_code != 302
    assert log_in(factories.PASSWORD, "192.0.2.8", "198.51.100.9").status_code == 302
