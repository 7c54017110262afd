"""What makes the tables of an upgrade may take longer than a request."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def limit() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return cursor.fetchone()[0]


def test_no_statement_of_a_migration_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    during = []
    migrate = MigrationExecutor.migrate

    def look(self, *args, **kwargs):
        during.append(limit())
        return migrate(self, *args, **kwargs)

    monkeypatch.setattr(MigrationExecutor, "migrate", look)
    assert limit() == "30s"
    call_command("migrate", verbosity=0, interactive=False)
    assert (during, limit()) == (["0"], "30s")
