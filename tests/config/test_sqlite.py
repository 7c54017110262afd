"""Writers of one process take turns at SQLite's lock instead of sleeping before it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import connection, transaction

from config.sqlite import base
from sites.models import Organization

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


def impatient() -> None:
    """Let SQLite itself refuse at once what it would have to wait for."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 0")


def test_writers_take_turns(works: Organization) -> None:
    together = threading.Barrier(8)

    def write() -> None:
        try:
            impatient()
            together.wait()
            for _ in range(25):
                with transaction.atomic():
                    row = Organization.objects.get(pk=works.pk)
                    row.name = str(int(row.name) + 1)
                    row.save()
        finally:
            connection.close()

    Organization.objects.update(name="0")
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write) for _ in range(8)]:
            done.result()
    assert Organization.objects.get().name == "200"


@pytest.mark.parametrize("end", ["raise", "close"])
def test_a_transaction_that_breaks_passes_the_turn_on(works: Organization, end: str) -> None:
    def fail() -> None:
        with transaction.atomic():
            Organization.objects.update(name="lost")
            if end == "close":
                connection.close()
            else:
                raise ZeroDivisionError

    def write() -> None:
        try:
            impatient()
            with transaction.atomic():
                Organization.objects.update(name="kept")
        finally:
            connection.close()

    with suppress(ZeroDivisionError):
        fail()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(write).result()
    assert Organization.objects.get().name == "kept"


def test_a_forked_process_does_not_wait_for_the_turn_of_its_parent(works: Organization) -> None:
    """Its copy of the lock is taken for ever: whoever took it was not copied."""
    with transaction.atomic():
        child = os.fork()
        if child == 0:
            os._exit(0 if base._turn.acquire(timeout=0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
