"""What probes and Prometheus are told, and who may ask."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.tasks import mark_lost
from config import watch
from jobs.tasks import plan, retry, sweep, tidy
from notifications.tasks import deliver, fan_out
from sites import ticks
from tests import factories

TOKEN = "a token for Prometheus"


@pytest.fixture
def asked(client: Client):
    def ask(address: str, **more):
        answer = client.get(address, **more)
        assert answer["X-Content-Type-Options"] == "nosniff"
        return answer

    return ask


@pytest.mark.once
def test_a_process_lives_without_its_database(asked):
    """No database is allowed in this test, and no known name of the host is given."""
    answer = asked("/healthz", headers={"Host": "10.0.0.7"})
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.django_db
def test_a_portal_is_ready_in_six_queries_and_names_what_is_late(asked, client, monkeypatch):
    # What ticked in a process of another test lies there still: the cache is no model's table.
    cache.clear()
    monkeypatch.setattr(ticks, "watched_s", lambda: 5.0)
    assert asked("/readyz").json()["late"] == [], "nobody has watched for long enough to know"
    monkeypatch.setattr(ticks, "watched_s", lambda: 7200.0)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = asked("/readyz", headers={"Host": "10.0.0.7"})
    assert len(queries) == 6
    assert answer["Cache-Control"] == "no-store"
    said = answer.json()
    assert said.pop("low") in ([], ["disk"])  # of the machine that the tests run on
    assert said.pop("disk_free_bytes") > 0
    assert 0 <= said.pop("database_s") < 30
    assert said == {
        "status": "ready",
        "late": ["plan", "retry", "sweep", "lost_agents", "fan_out", "deliver", "tidy"],
        "ages": dict.fromkeys([*ticks.TICKS, "deliveries"]),
        "oldest_pending_s": None,
    }
    plan()
    retry()
    sweep()
    mark_lost()
    fan_out()
    deliver()
    tidy()
    said = asked("/readyz").json()
    assert (said["late"], said["ages"]["prune"]) == ([], None)
    assert 0 <= said["ages"]["sweep"] < 60
    assert client.post("/readyz").status_code == 405
    # From elsewhere the ages alone: the rest is of all organizations.
    told = asked("/readyz", REMOTE_ADDR="10.0.0.9").json()
    assert set(told) == {"status", "late", "low", "ages"}


@pytest.mark.django_db
@pytest.mark.once
def test_a_database_that_goes_after_it_was_checked_is_named(asked, monkeypatch):
    def gone() -> float:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(watch, "oldest_pending_s", gone)
    answer = asked("/readyz")
    assert (answer.status_code, answer.json()["failing"]) == (503, ["database"])
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_a_migration_that_is_not_applied_makes_it_unready(asked):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'jobs'")
    answer = asked("/readyz")
    assert (answer.status_code, answer["Content-Type"]) == (503, "application/problem+json")
    assert (answer["Retry-After"], answer.json()["failing"]) == ("5", ["migrations"])


@pytest.mark.django_db
@pytest.mark.once
def test_a_database_that_took_the_steps_one_by_one_lacks_nothing(asked):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE name LIKE '%squashed%'")
        assert cursor.rowcount == 3
    assert asked("/readyz").status_code == 200


@pytest.mark.django_db
@pytest.mark.once
def test_a_folder_that_cannot_be_written_is_named_as_storage_and_no_more(
    asked, settings, tmp_path, caplog
):
    (tmp_path / "vault").write_text("a file where a folder should be")
    settings.VAULT_ROOT = "/proc/vault"
    answer = asked("/readyz")
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["storage"]
    assert "/proc" not in answer.content.decode()
    assert "the check of storage failed" in caplog.text


@pytest.mark.django_db
@pytest.mark.once
def test_an_unreachable_database_is_answered_at_once(asked, monkeypatch, caplog):
    monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all.sqlite3")
    connection.close()
    monkeypatch.setattr(connection, "connection", None)
    answer = asked("/readyz")
    assert answer.status_code == 503
    assert "database" in answer.json()["failing"]


def value(text: str, line: str) -> float:
    (found,) = (one for one in text.splitlines() if one.startswith(line + " "))
    return float(found.rpartition(" ")[2])


@pytest.mark.django_db
def test_metrics_count_requests_runs_agents_and_ages(asked, job, edda, agent):
    factories.run(job, by=edda)
    sweep()
    agent.api.claim()
    counted = 'yardmaster_http_requests_total{door="agent",method="POST",status="200"}'
    first = asked("/metrics").content.decode()
    agent.api.post("heartbeat", {"runs": []})
    with CaptureQueriesContext(connection) as queries:
        second = asked("/metrics").content.decode()
    assert len(queries) == 6
    assert value(second, counted) == value(first, counted) + 1
    assert value(second, 'yardmaster_runs_active{status="claimed"}') == 1
    assert value(second, 'yardmaster_runs_active{status="pending"}') == 0
    assert value(second, "yardmaster_oldest_pending_run_seconds") == 0
    assert value(second, 'yardmaster_agents{state="active"}') == 1
    assert value(second, 'yardmaster_tick_age_seconds{tick="sweep"}') < 60
    assert value(second, "yardmaster_disk_free_bytes") > 0
    assert 0 <= value(second, "yardmaster_oldest_delivery_seconds") < 60
    assert 0 < value(second, "yardmaster_database_seconds") < 60
    factories.run(job, by=edda)
    assert value(asked("/metrics").content.decode(), "yardmaster_oldest_pending_run_seconds") >= 0


@pytest.mark.django_db
@pytest.mark.once
@pytest.mark.parametrize(
    ("token", "sent", "address", "status"),
    [
        ("", "", "127.0.0.1", 200),
        ("", "", "::1", 200),
        ("", "", "192.0.2.7", 403),
        ("", "Bearer ", "192.0.2.7", 403),
        (TOKEN, f"Bearer {TOKEN}", "192.0.2.7", 200),
        (TOKEN, f"Bearer {TOKEN}x", "127.0.0.1", 403),
        (TOKEN, "", "127.0.0.1", 403),
    ],
)
def test_metrics_are_told_to_this_machine_or_for_the_token(
    asked, settings, token, sent, address, status
):
    settings.METRICS_TOKEN = token
    answer = asked("/metrics", REMOTE_ADDR=address, headers={"Authorization": sent})
    assert answer.status_code == status
    assert ("yardmaster_runs_active" in answer.content.decode()) == (status == 200)


@pytest.mark.django_db
@pytest.mark.once
def test_behind_a_proxy_the_client_asks_and_not_the_proxy(asked, settings):
    settings.TRUSTED_PROXIES = 1
    assert asked("/metrics", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 403
