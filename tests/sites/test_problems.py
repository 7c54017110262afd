"""An answer that refuses is whole: a client on a kept connection knows where it ends."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.factories import Enrolled

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("post", "heartbeat", 401),
        ("post", "enroll", 415),
        ("get", "heartbeat", 405),
        ("get", "nowhere", 404),
    ],
)
def test_a_problem_says_its_length(
    client: Client, agent: Enrolled, method: str, path: str, status: int
) -> None:
    answer = client.generic(method.upper(), f"/api/v1/agent/{path}", b"x", content_type="text/x")
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Content-Length"] == str(len(answer.content))
