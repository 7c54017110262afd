"""When a person counts as seen, as the doors show it, and what a page costs because of that."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, connection, transaction
from django.utils import timezone

from sites.models import Membership, User
from tests.pages import as_, html, rows, words
from tests.people import API
from tests.waiting import PATIENCE_S


@pytest.mark.once
def test_who_comes_back_within_a_session_was_seen_and_an_open_page_was_not(
    alice: User, mia: User, django_assert_num_queries: Any
) -> None:
    """One small write in some minutes, none for a token, whose use is told apart."""
    weeks = timezone.now() - timedelta(days=20)
    client, program = as_(mia), API(mia)
    address = f"members/{Membership.objects.get(user=mia).public_id}"
    User.objects.filter(pk=mia.pk).update(last_login=weeks)

    def told() -> Any:
        return API(alice).get(address).json()

    assert program.get(address).status_code == 200
    client.get("/jobs", headers={"HX-Request": "true"})
    before = told()
    assert before["last_seen_at"] == before["last_login_at"]
    assert before["token_used_at"] is not None
    listed = {row["Name"]: row for row in rows(html(alice, "/members"))}
    cell = listed["Mia mia@example.com"]["Last seen, UTC"]
    assert re.search(r"logged in 20 d ago · token \d+ s ago$", cell)
    # The first page of a while is noted, the next is not.
    for queries in (6, 3):
        with django_assert_num_queries(queries):
            assert client.post("/profile/sessions/end").status_code == 302
    after = told()
    assert after["last_login_at"] == before["last_login_at"]
    assert after["last_seen_at"] > before["token_used_at"]
    page = words(html(alice, f"/{address}"))
    assert re.search(
        r"last seen \d+ s ago · last log-in 20 d ago · access token last used \d+ s", page
    )
    User.objects.filter(pk=mia.pk).update(noted_at=timezone.now() - timedelta(minutes=6))
    client.get("/jobs")
    assert told()["last_seen_at"] > after["last_seen_at"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "why", ["another writes", pytest.param("read only", marks=pytest.mark.postgres)]
)
def test_nobody_waits_for_a_page_because_of_being_seen(mia: User, why: str) -> None:
    client = as_(mia)
    User.objects.update(last_login=None)
    at_work, over = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            User.objects.filter(pk=mia.pk).update(first_name="Maria")
            at_work.set()
            over.wait(PATIENCE_S)
        connection.close()

    def read() -> None:
        answered.append(client.get("/jobs").status_code)
        connection.close()

    answered: list[int] = []
    if why == "read only":
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        answered.append(client.get("/jobs").status_code)
        connection.close()
    else:
        writer = threading.Thread(target=write)
        writer.start()
        assert at_work.wait(PATIENCE_S)
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(10)
        waited = reader.is_alive()
        over.set()
        for thread in (writer, reader):
            thread.join()
        assert not waited
    assert answered == [200]
    mia.refresh_from_db()
    assert mia.noted_at is None
    assert client.get("/jobs").status_code == 200
    mia.refresh_from_db()
    assert mia.noted_at is not None


@pytest.mark.django_db(transaction=True)
def test_a_page_is_answered_though_the_connection_is_lost_before_its_person_is_noted(
    mia: User,
) -> None:
    def lost(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "last_seen_at" in sql:
            raise InterfaceError("connection already closed")
        return execute(sql, *rest)

    client = as_(mia)
    User.objects.update(last_login=None)
    with connection.execute_wrapper(lost):
        assert client.get("/jobs").status_code == 200
    mia.refresh_from_db()
    assert mia.noted_at is None
