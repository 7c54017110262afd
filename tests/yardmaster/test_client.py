"""The table "what to do with an answer", asked over real HTTP."""

import socket
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.yardmaster.answers import TOKEN
from tests.yardmaster.portal import Portal
from yardmaster import client as client_module
from yardmaster.client import (
    Client,
    InsecureAddress,
    OffsetMismatch,
    PortalAway,
    Refused,
    RunGone,
    TryAgain,
    Unauthorized,
    check_address,
    pause,
)

pytestmark = pytest.mark.once


@pytest.fixture
def client(portal: Portal) -> Any:
    made = Client(portal.url, TOKEN)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {}, Unauthorized),
        (404, {}, RunGone),
        (409, {"code": "stale_attempt"}, RunGone),
        (409, {"code": "already_final"}, RunGone),
        (409, {"code": "result_conflict"}, RunGone),
        (409, {"code": "not_sealed"}, RunGone),
        (409, {"code": "illegal_move"}, Refused),
        (416, {"code": "offset_mismatch", "length": 7}, OffsetMismatch),
        (416, {}, Refused),
        (408, {}, TryAgain),
        (425, {}, TryAgain),
        (429, {}, TryAgain),
        (500, {}, TryAgain),
        (502, {}, PortalAway),
        (503, {}, PortalAway),
        (504, {}, PortalAway),
        (0, {}, TryAgain),
        (302, {}, Refused),
        (400, {}, Refused),
        (403, {}, Refused),
        (413, {}, Refused),
        (422, {}, Refused),
    ],
)
def test_each_answer_asks_for_one_thing(
    client: Client, portal: Portal, status: int, body: dict[str, Any], error: type[Exception]
) -> None:
    portal.fail("hello", status, **body)
    with pytest.raises(error) as raised:
        client.send("POST", "/agent/hello", json={})
    assert type(raised.value) is error


def refusing() -> str:
    """An address of a machine that is there, where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_where_nobody_listens_the_portal_is_away() -> None:
    with closing(Client(refusing(), TOKEN)) as client, pytest.raises(PortalAway):
        client.send("POST", "/agent/hello", json={})


@pytest.mark.parametrize(("anew", "error"), [(True, PortalAway), (False, TryAgain)])
def test_silence_on_a_connection_just_made_says_that_the_portal_is_away(
    anew: bool, error: type[Exception]
) -> None:
    # Its socket takes connections as long as the process is there, at work or stopped.
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with closing(Client(url, TOKEN)) as client, pytest.raises(TryAgain) as raised:
            client.send("POST", "/agent/hello", json={}, timeout=0.2, anew=anew)
    assert type(raised.value) is error


def test_no_beat_goes_over_a_connection_that_was_there_before(
    client: Client, portal: Portal
) -> None:
    asked_by: list[tuple[str, int]] = []
    act = portal.act

    def noted(http: Any, *rest: Any) -> Any:
        asked_by.append(http.client_address)
        return act(http, *rest)

    portal.act = noted  # type: ignore[method-assign, assignment]
    client.send("POST", "/agent/hello", json={})
    for _ in range(2):
        client.send("POST", "/agent/heartbeat", json={"runs": []}, anew=True)
    assert len(set(asked_by)) == 3


@pytest.mark.parametrize("error", [httpx.ConnectTimeout, httpx.ConnectError, httpx.ProxyError])
def test_a_way_that_leads_nowhere_says_nothing_of_the_portal(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: type[httpx.RequestError]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("no route")

    monkeypatch.setattr(httpx.Client, "request", fail)
    with pytest.raises(TryAgain) as raised:
        client.send("POST", "/agent/hello", json={}, anew=True)
    assert type(raised.value) is TryAgain


def test_a_proxy_that_answers_the_connection_says_nothing_of_the_portal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", refusing())
    with closing(Client("http://portal.example", TOKEN, insecure_http=True)) as client:
        with pytest.raises(TryAgain) as raised:
            client.send("POST", "/agent/hello", json={})
    assert type(raised.value) is TryAgain


def test_an_answer_that_is_not_the_portals_is_no_answer(client: Client, portal: Portal) -> None:
    # A log-in page of the network, for example: 200, but nothing that the portal would say.
    portal.settings = "<html>"  # type: ignore[assignment]
    portal.act = lambda *_: (200, ["no", "object"])  # type: ignore[method-assign, assignment]
    with pytest.raises(TryAgain, match="not JSON"):
        client.send("POST", "/agent/hello", json={})


def test_a_request_is_repeated_until_it_is_answered(client: Client, portal: Portal) -> None:
    portal.fail("hello", 503, times=2)
    portal.fail("hello", 0, times=1)
    waited: list[float] = []
    answer = client.send_until(lambda: False, waited.append, "POST", "/agent/hello", json={})
    assert answer.body["name"] == "line 1"
    assert len(waited) == 3
    assert all(1 <= seconds <= 30 for seconds in waited)


@pytest.mark.parametrize("status", [401, 404, 422])
def test_what_a_repetition_cannot_mend_is_sent_once(
    client: Client, portal: Portal, status: int
) -> None:
    portal.fail("hello", status, times=None)
    with pytest.raises((Unauthorized, RunGone, Refused)):
        client.send_until(lambda: False, lambda s: None, "POST", "/agent/hello", json={})
    assert len(portal.asked("hello")) == 1


def test_it_gives_up_when_told_to(client: Client, portal: Portal) -> None:
    portal.fail("hello", 503, times=None)
    with pytest.raises(TryAgain):
        client.send_until(lambda: True, lambda s: None, "POST", "/agent/hello", json={})
    assert len(portal.asked("hello")) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "77"},
        # Both by the portal's clock, which differs from this machine's by years.
        {"Retry-After": "Tue, 01 Jan 2030 00:01:17 GMT", "Date": "Tue, 01 Jan 2030 00:00:00 GMT"},
    ],
)
def test_retry_after_is_obeyed(portal: Portal, headers: dict[str, str]) -> None:
    import httpx

    answers = [
        httpx.Response(429, headers=headers, json={}),
        httpx.Response(200, json={"name": "line 1"}),
    ]
    client = Client(portal.url, TOKEN)
    client.close()
    client._http = httpx.Client(transport=httpx.MockTransport(lambda request: answers.pop(0)))
    waited: list[float] = []
    client.send_until(lambda: False, waited.append, "POST", "/agent/hello", json={})
    assert waited == [77.0]


def test_the_pause_is_full_jitter_below_a_growing_ceiling(monkeypatch: Any) -> None:
    spans: list[tuple[float, float]] = []

    def highest(low: float, high: float) -> float:
        spans.append((low, high))
        return high

    monkeypatch.setattr(client_module.random, "uniform", highest)
    assert [pause(attempt) for attempt in (1, 2, 3, 4, 5, 6, 5000)] == [2, 4, 8, 16, 30, 30, 30]
    assert {low for low, _ in spans} == {1.0}
    assert pause(1, 10_000_000.0) == 900.0


def test_a_redirect_does_not_get_the_token(client: Client, portal: Portal) -> None:
    portal.fail("hello", 302, headers={"Location": f"{portal.url}/elsewhere"})
    with pytest.raises(Refused, match="redirects to"):
        client.send("POST", "/agent/hello", json={})
    assert not portal.asked("elsewhere")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:80", "https://p.example/ym/"]
)
def test_safe_addresses(url: str) -> None:
    assert check_address(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["http://p.example", "http://10.0.0.1:8000", "http://127.0.0.1.x.y"]
)
def test_plain_http_to_another_machine_is_refused_unless_asked_for(url: str) -> None:
    with pytest.raises(InsecureAddress, match="--insecure-http"):
        check_address(url)
    assert check_address(url, insecure_http=True) == url


@pytest.mark.parametrize("url", ["p.example", "ftp://p.example", "https://", "https://u:p@h"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_address(url)


def test_field_errors_are_said_in_words(client: Client, portal: Portal) -> None:
    portal.fail("hello", 400, detail="It is malformed.", errors={"version": ["Is missing."]})
    with pytest.raises(Refused, match=r"It is malformed. \(version: Is missing.\)"):
        client.send("POST", "/agent/hello", json={})


def test_a_proxy_does_not_come_between_a_machine_and_itself(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    client = Client(portal.url, TOKEN)
    assert client.send("POST", "/agent/hello", json={}).status == 200
    client.close()
