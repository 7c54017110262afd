"""The servers that tests start: real ones, gone afterwards, and one line where that cannot be."""

import os
from pathlib import Path

import kombu
import psutil
import psycopg
import pytest

from config.management.commands.test import with_mark
from tests import servers

pytestmark = pytest.mark.once


def test_postgres_survives_a_power_cut_and_leaves_nothing() -> None:
    with servers.postgres(durable=True) as server:
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        server.kill()
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
        process, folder = psutil.Process(server.process.pid), server.folder
    assert not process.is_running()
    assert not folder.exists()


def test_redis_answers_and_leaves_nothing() -> None:
    with servers.redis() as address:
        with kombu.Connection(address) as connection:
            connection.connect()
        folder = Path(address.removeprefix("redis+socket://")).parent
        assert folder.exists()
    assert not folder.exists()


def test_missing_programs_are_one_line_where_we_may_not_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get either
    monkeypatch.setattr(servers, "program", lambda name: None)
    with pytest.raises(servers.Missing) as missing:
        servers.install_missing(print)
    said = str(missing.value)
    packages = "postgresql redis-server chromium-headless-shell openssh-server"
    assert f"apt-get install --no-install-recommends {packages}" in said
    assert os.linesep not in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-q"], ["-m", "not postgres", "-q"]),
        (["-m", "faults or browser"], ["-m", "(faults or browser) and not postgres"]),
    ],
)
def test_own_mark_expression_narrows_the_run(arguments: list[str], expected: list[str]) -> None:
    assert with_mark(arguments, "not postgres") == expected
