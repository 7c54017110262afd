"""What `manage.py doctor` finds, and what it says to do."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from agents.models import AgentPresence
from agents.tasks import mark_lost
from config import doctor, running
from jobs.tasks import plan, retry, sweep, tidy
from notifications.tasks import deliver, fan_out
from sites import pulse, ticks
from sites.models import Pulse


def told() -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code and the findings by name."""
    out, code = io.StringIO(), 0
    try:
        call_command("doctor", "--json", stdout=out)
    except SystemExit as ended:
        code = int(ended.code)
    said = json.loads(out.getvalue())
    assert said["ok"] == (code == 0)
    return code, {one["name"]: one for one in said["findings"]}


@pytest.fixture
def sound(db: None, settings: Any, tmp_path: Path, agent: Any) -> Any:
    """An installation in which all is well but that nobody serves it."""
    tmp_path.chmod(0o700)
    settings.DATA_DIR = tmp_path
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.VAULT_ROOT = tmp_path / "vault"
    (tmp_path / "secret-key").touch(mode=0o600)
    agent.api.post("heartbeat", {"runs": []})
    for task in (plan, retry, sweep, mark_lost, fan_out, deliver, tidy):
        task()
    return settings


@pytest.mark.django_db(transaction=True)
def test_all_is_well_where_the_portal_is_served(sound, live_server: LiveServer):
    sound.PUBLIC_URL = live_server.url
    code, found = told()
    assert {name: one["found"] for name, one in found.items() if one["state"] == "fail"} == {}
    assert code == 0
    assert [name for name, one in found.items() if one["cure"] and one["state"] == "ok"] == []
    assert found["agents"]["found"] == "1 active"
    assert ("SQLite" if connection.vendor == "sqlite" else "PostgreSQL") in found["database"][
        "found"
    ]
    call_command("doctor", stdout=(out := io.StringIO()))
    assert len(out.getvalue().splitlines()) >= len(found)


def installed(at: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET applied = %s", [at])


def worker_and_beat() -> dict[str, str]:
    return told()[1]["worker and beat"]


@pytest.mark.once
def test_what_has_just_started_is_awaited_and_not_late(sound, tmp_path):
    """Of a new installation, after a time without any, and where `up` has started it."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM portal_cache")
    installed(timezone.now().isoformat())
    assert worker_and_beat()["state"] == "warn"
    assert worker_and_beat()["found"].startswith("started 0 s ago, awaited: plan")
    sweep(), plan(), retry(), mark_lost(), fan_out(), deliver()
    # The rarest comes up a quarter of an hour later.
    assert worker_and_beat()["found"].startswith("the last sweep was 0 s ago")
    installed("2026-01-01T00:00:00Z")
    assert worker_and_beat()["found"].startswith("late: tidy was never seen")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM portal_cache")
    assert worker_and_beat()["state"] == "fail"
    pulse.note(pulse.SERVING)
    assert worker_and_beat()["state"] == "fail"  # without a break since that January
    Pulse.objects.update(noted_at="2026-01-02T00:00:00Z")
    pulse.note(pulse.SERVING)
    assert worker_and_beat()["found"].startswith("started 0 s ago")
    Pulse.objects.all().delete()
    note(tmp_path, "http://127.0.0.1:1")
    assert worker_and_beat()["found"].startswith("started 0 s ago")
    os.utime(tmp_path / running.NAME, (time.time() - 70,) * 2)
    assert worker_and_beat()["found"].startswith("late: plan was never seen, retry was never seen")


def note(data: Path, url: str) -> int:
    lock = os.open(data / running.NAME, os.O_RDWR | os.O_CREAT, 0o600)
    running.note(lock, url)
    return lock


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
def test_where_up_listens_is_known(sound, tmp_path, live_server: LiveServer, monkeypatch):
    monkeypatch.delenv("PUBLIC_URL", raising=False)
    sound.PUBLIC_URL = "http://127.0.0.1:1"
    lock = note(tmp_path, live_server.url)
    assert told()[1]["public address"]["found"] == f"{live_server.url} answers"
    # What somebody sets holds; nobody takes the word of one that has ended.
    monkeypatch.setenv("PUBLIC_URL", "http://127.0.0.1:1")
    assert told()[1]["public address"]["found"].startswith("http://127.0.0.1:1 does not answer")
    monkeypatch.delenv("PUBLIC_URL")
    running.forget(lock)
    found = told()[1]["public address"]
    assert found["found"] == "http://127.0.0.1:1 does not answer: Connection refused"
    assert found["cure"].startswith("See that the web process runs")
    os.close(lock)


@pytest.mark.once
def test_each_fault_is_named_with_what_to_do(sound, tmp_path, agent, monkeypatch):
    """The disk alone is said to be full; all else is really so."""
    (tmp_path / "secret-key").chmod(0o644)
    sound.VAULT_ROOT = Path("/proc/vault")
    sound.PUBLIC_URL = "http://127.0.0.1:1"
    sound.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    sound.EMAIL_HOST, sound.EMAIL_PORT = "127.0.0.1", 1
    installed("2026-01-01T00:00:00Z")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'jobs'")
        cursor.execute("DELETE FROM portal_cache")
    AgentPresence.objects.update(seen_at="2026-01-01T00:00:00Z")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    code, found = told()
    assert code == 1
    bad = {name: one["state"] for name, one in found.items() if one["state"] != "ok"}
    assert bad == {
        "migrations": "fail",
        "data folder": "fail",
        "storage": "fail",
        "worker and beat": "fail",
        "disk space": "fail",
        "public address": "fail",
        "mail": "fail",
        "agents": "warn",
    }
    assert all(found[name]["cure"] for name in bad)
    assert found["data folder"]["cure"].endswith("secret-key")
    assert "hall-agent" in found["agents"]["cure"]


def broken(*_: Any) -> Any:
    raise OperationalError("attempt to write a readonly database")


@pytest.mark.once
def test_what_the_database_does_not_tell_has_no_cure_of_its_own(sound, monkeypatch):
    """Clocks and agents are not what is wrong where no question is answered."""
    monkeypatch.setattr(ticks, "ages", broken)
    assert told()[1]["worker and beat"]["cure"] == doctor.CURES["worker and beat"]
    for name in ("clock", "database"):
        monkeypatch.setitem(doctor.CHECKS, name, broken)
    _, found = told()
    unknown = [name for name, one in found.items() if one["found"] == "not known"]
    assert unknown == ["worker and beat", "clock"]
    assert found["clock"]["cure"] == "Mend database first."
    assert found["database"]["state"] == "fail"
    if connection.vendor == "sqlite":
        assert "user may write" in found["database"]["cure"]
        assert "server" not in found["database"]["cure"]


@pytest.mark.once
def test_a_password_in_an_address_is_not_told(sound, monkeypatch):
    def refuse(*args: Any, **more: Any) -> None:
        raise OSError("cannot reach amqp://yard:hunter22@broker:5672//")

    monkeypatch.setattr("kombu.Connection.ensure_connection", refuse)
    _, found = told()
    assert found["broker"]["state"] == "fail"
    assert found["broker"]["found"] == "cannot reach amqp://yard:…@broker:5672//"
