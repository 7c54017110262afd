"""What a log line says of its request, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError
from django.test import Client

from config import logs
from tests import factories
from tests.pages import as_

pytestmark = pytest.mark.once


@contextmanager
def writing(form: str) -> Iterator[io.StringIO]:
    """Give what the log holds from root and access logger, as the console would show it."""
    made = logs.configured(form)
    configurator = logging.config.DictConfigurator(made)
    handler = logging.StreamHandler(out := io.StringIO())
    handler.setFormatter(configurator.configure_formatter(made["formatters"]["lines"]))
    for name in made["handlers"]["console"]["filters"]:
        handler.addFilter(configurator.configure_filter(made["filters"][name]))
    root, access = logging.getLogger(), logging.getLogger("yardmaster.access")
    before = root.level, access.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    access.setLevel(logging.INFO)
    yield out
    root.removeHandler(handler)
    root.setLevel(before[0])
    access.setLevel(before[1])


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    with writing("json") as out:
        yield out


def lines(written: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def requests(written: io.StringIO) -> list[dict[str, object]]:
    return [line for line in lines(written) if line["event"] == "request"]


@pytest.mark.django_db
def test_an_agents_request_is_logged_with_its_run_and_agent(written, agent, job, edda):
    run = factories.run(job, by=edda)
    (held,) = agent.api.claim()
    answer = agent.api.move(held, "running")
    said = requests(written)[-1]
    assert said["run_id"] == str(run.public_id)
    assert said["agent_id"] == str(agent.agent.public_id)
    assert said["request_id"] == answer["X-Request-ID"]
    assert (said["method"], said["status"]) == ("PATCH", 200)
    assert said["route"] == "/api/v1/agent/runs/<uuid:run>"
    Client().get("/healthz")
    Client().get("/accounts/login/")
    page = requests(written)[-1]
    assert page["route"] == "/accounts/login/"
    assert not {"run_id", "agent_id"} & set(page)
    assert len(requests(written)) == 3
    refused = Client().get("/api/v1/runs")
    (said,) = (line for line in lines(written) if line["logger"] == "django.request")
    assert said["request_id"] == refused["X-Request-ID"]


@pytest.mark.django_db
def test_a_refusal_is_no_traceback(written, mia, monkeypatch):
    answer = as_(mia).get("/members")
    assert answer.status_code == 403
    (said,) = (line for line in lines(written) if line["logger"] == "django.request")
    assert said["event"] == "Forbidden (Permission denied): /members"
    assert "exception" not in said
    client = as_(mia)
    client.raise_request_exception = False
    monkeypatch.setattr("sites.views.members.managed", lambda _: 1 / 0)
    assert client.get("/members").status_code == 500
    assert "ZeroDivisionError" in str(lines(written))


FORGED = "x\n2026-01-01T00:00:00Z [info     ] all is well\r\x1b[2J\x9b\u2028\u202ey"


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["plain", "json"])
def test_no_text_of_a_request_begins_a_line(alice, form):
    client = as_(alice)
    client.raise_request_exception = False
    with writing(form) as written:
        assert client.get("/admin/jobs/job/", {"_to_field": FORGED}).status_code == 400
        client.get(f"/nothing/{quote(FORGED)}")
        try:
            raise ValueError(FORGED)
        except ValueError:
            logging.getLogger("some.library").exception("It failed with %s", FORGED)
            structlog.get_logger("ours").exception(FORGED, said=FORGED)
    text = written.getvalue()
    assert text.count("all is well") > 4
    begun = [line for line in text.split("\n") if "all is well" in line]
    assert not [line for line in begun if line.startswith("2026-01-01")]
    assert not set(text) & set("\r\x1b\x9b\u2028\u202e")
    if form == "json":
        assert FORGED in [line["event"] for line in map(json.loads, text.splitlines())]
    else:
        (suspicious,) = (line for line in text.splitlines() if "DisallowedModelAdmin" in line)
        assert "[warning" in suspicious


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("proxies", "sent", "taken"),
    [(1, "proxy-7.a_b", True), (0, "proxy-7.a_b", False), (1, "a\nb", False), (1, "x" * 65, False)],
)
def test_a_request_id_is_that_of_a_trusted_proxy_or_made(settings, proxies, sent, taken):
    settings.TRUSTED_PROXIES = proxies
    for address in ("/healthz", "/accounts/login/", "/api/v1/runs", "/nothing/here"):
        given = Client().get(address, headers={"X-Request-ID": sent})["X-Request-ID"]
        assert (given == sent) == taken
        assert logs.REQUEST_ID.fullmatch(given)


@pytest.mark.django_db
def test_no_secret_of_a_request_reaches_the_log(written, agent, alice):
    token = factories.access_token(alice)
    client = Client(raise_request_exception=False)
    client.get("/a/ABCD-EFGH-IJKL")
    client.get(f"/nothing?token={token}", headers={"Authorization": f"Bearer {token}"})
    client.post("/accounts/login/", {"login": "alice", "password": "wr0ng-passw0rd"})
    agent.api.get("nothing/here")
    try:
        raise ValueError(f"https://alice:hunter22@host/ {token} Bearer abc.def {agent.api.token}")
    except ValueError:
        logging.getLogger("some.library").exception("It failed with %s", {"token": token})
        error = IntegrityError("no\nDETAIL:  Failing row contains (1, s3cret\n, 2).\nMORE")
        for form in ("%s", "%r"):
            logging.getLogger("ours").error(form, error)
        structlog.get_logger("ours").warning("said", headers={"Authorization": "Basic QWxhZGRpbg"})
    text = written.getvalue()
    assert len(lines(written)) >= 6
    for secret in (
        *("ABCD-EFGH-IJKL", "wr0ng-passw0rd", "hunter22", "abc.def", "QWxhZGRpbg", "s3cret"),
        *(token, token[-20:], agent.api.token, agent.api.token[-20:]),
    ):
        assert secret not in text
    assert "ValueError" in text


def test_what_a_worker_logs_looks_like_all_else():
    """Celery puts its own form in the place of ours unless it is told not to."""
    program = (
        "import logging, django; django.setup()\n"
        "from config.celery import app; app.log.setup(loglevel='WARNING')\n"
        "logging.getLogger('ours').warning('a\\nb ym_agent_abcdefghijklmn')"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings.dev"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True
    )
    [line] = done.stderr.splitlines()
    assert line.split()[1:] == ["[warning", "]", r"a\nb", "ym_…", "[ours]"]


def test_an_unknown_form_is_refused():
    with pytest.raises(ImproperlyConfigured, match="plain or json"):
        logs.configured("xml")
