"""What a monitor outside hears of the portal."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from django.core.cache import cache

from config import monitor
from config.tasks import ping_monitor
from sites import ticks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ticked, and was told, in another test is in the cache still."""
    cache.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8 * 2**30))
    monkeypatch.setattr(ticks, "watched_s", lambda: 86_400.0)
    monkeypatch.setattr(monitor, "_failing", False)


def all_done() -> None:
    for name in ticks.TICKS:
        ticks.record(name)


class Outside:
    """A monitor that notes what it was asked, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outside.asked.append(self.path)
                self.send_response(outside.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/ping/8f3a-secret"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def outside(settings) -> Iterator[Outside]:
    made = Outside()
    settings.MONITOR_URL = made.url
    yield made
    made.close()


def minute_over() -> None:
    cache.delete("monitor")


def test_a_monitor_hears_once_a_minute_that_all_is_well(outside):
    all_done()
    assert [ping_monitor() for _ in range(3)] == [True, False, False]
    assert outside.asked == ["/ping/8f3a-secret"]
    minute_over()
    assert ping_monitor()
    assert len(outside.asked) == 2


def test_a_monitor_hears_that_something_is_late(outside, settings):
    all_done()
    cache.delete("tick:sweep")
    assert ping_monitor()
    settings.MONITOR_URL += "/?from=here"
    minute_over()
    assert ping_monitor()
    assert outside.asked == ["/ping/8f3a-secret/fail", "/ping/8f3a-secret/fail?from=here"]


def test_a_monitor_that_fails_is_logged_once_and_without_its_secret(outside, caplog):
    caplog.set_level("INFO", "config.monitor")
    all_done()
    for outside.status in (500, 302, 500):
        minute_over()
        assert ping_monitor() is False
    assert caplog.text.count("takes no ping: it answered 500") == 1
    assert "302" not in caplog.text
    outside.status = 204
    minute_over()
    assert ping_monitor()
    assert caplog.text.count("takes pings again") == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "ftp://127.0.0.1/", "no address", "http://["]
)
def test_a_monitor_that_is_not_there_harms_nothing(settings, caplog, url):
    settings.MONITOR_URL = url
    for _ in range(2):
        minute_over()
        assert ping_monitor() is False
    assert caplog.text.count("takes no ping") == 1


@pytest.mark.once
def test_without_a_monitor_nobody_is_asked(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert ping_monitor() is False
