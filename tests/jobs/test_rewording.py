"""A model's words in a commit message: asked once, after the run, and never believed too much."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from jobs import tasks
from jobs.models import Job, JobRun
from jobs.rewording import reword_due
from sites.models import Event, User
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.pages import html

pytestmark = [pytest.mark.django_db, pytest.mark.once]


class Model:
    """A server that takes questions and answers with what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.status, self.body = 200, said("Slow the pump down\n\nIt runs at 20 now.")
        self.silent = False
        self.over = threading.Event()


def said(content: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


@pytest.fixture
def model(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    """A real server on this machine, which the settings name."""
    made = Model()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            question = json.loads(self.rfile.read(length))
            made.asked.append((self.path, question, self.headers["Authorization"]))
            self.send_response(made.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            if made.silent:
                made.over.wait(60)
            else:
                self.wfile.write(made.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings.MESSAGE_MODEL_URL = f"http://127.0.0.1:{server.server_port}/v1"
    settings.MESSAGE_MODEL, settings.MESSAGE_MODEL_KEY = "small", "k-123"
    yield made
    made.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run(model: Model, job: Job, agent: Enrolled, edda: User) -> JobRun:
    """A backup that found a change, with a secret of its own in it."""
    job.parameters = {"password": "geheim-123"}
    job.describe_changes = job.describe_with_model = True
    job.save()
    for limit in (b"10", b"20; geheim-123"):
        made = factories.run(job, by=edda)
        back_up(agent.api, {"main.st": b"limit := " + limit + b"\n"})
    made.refresh_from_db()
    return made


def message(run: JobRun) -> str:
    run.refresh_from_db()
    assert run.snapshot is not None
    return run.snapshot.message


LISTED = "main.st: 1 line changed\n− limit := 10\n+ limit := 20; ••••"
BUILT_IN = f"Change the limit in main.st\n\n{LISTED}"


def test_the_models_words_stand_above_the_list(model: Model, run: JobRun) -> None:
    """S0-14: sent are bounded lines with secrets hidden; the page hears of the new message."""
    assert message(run) == BUILT_IN
    assert model.asked == []  # not while an agent waited for its answer
    before = Event.objects.count()
    assert tasks.reword() == 1
    assert message(run) == f"Slow the pump down\n\nIt runs at 20 now.\n\n{LISTED}"
    assert [one.kind for one in Event.objects.order_by("id")[before:]] == ["run.changed"]
    [(path, question, key)] = model.asked
    assert (path, question["model"], key) == ("/v1/chat/completions", "small", "Bearer k-123")
    sent = json.dumps(question, ensure_ascii=False)
    assert "limit := 20; ••••" in sent
    assert "geheim" not in sent
    assert tasks.reword() == 0
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, said("Fine")),
        (302, said("Fine")),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b"[" * 60_000),
        (200, said("Fine") + b" " * 100_000),
        (200, said(None)),
        (200, said(["Fine"])),
        (200, said("")),
        (200, said("x" * 73)),
        (200, said("Fine\x1b[31m\n\nText")),
        (200, said("Fine \u202e.exe")),
    ],
)
def test_a_wrong_answer_leaves_the_rules_message(
    model: Model, run: JobRun, status: int, body: bytes
) -> None:
    model.status, model.body = status, body
    before = Event.objects.count()
    assert reword_due() == 0
    assert message(run) == BUILT_IN
    assert Event.objects.count() == before
    model.status, model.body = 200, said("Fine")
    assert reword_due() == 0  # it is asked once
    assert len(model.asked) == 1


def test_a_server_that_does_not_answer_is_left(model: Model, run: JobRun, settings: Any) -> None:
    settings.MESSAGE_MODEL_TIMEOUT_S = 0.2
    model.silent = True
    assert reword_due() == 0
    assert message(run) == BUILT_IN


def test_markup_and_secrets_of_an_answer_do_nothing(model: Model, run: JobRun, edda: User) -> None:
    model.body = said("Add <script>alert(1)</script>\n\nThe password is geheim-123." + "x" * 9_000)
    assert reword_due() == 1
    assert len(message(run)) < 1_000
    page = html(edda, "/jobs/history")
    assert "Add &lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "geheim" not in page


@pytest.mark.parametrize("switched_off", ["job", "installation"])
def test_nothing_is_sent_unless_both_ask_for_it(
    model: Model, job: Job, agent: Enrolled, edda: User, settings: Any, switched_off: str
) -> None:
    """S0-14: it has to be activated, on the job and by who runs the portal."""
    job.describe_changes = True
    job.describe_with_model = switched_off != "job"
    job.save()
    url = settings.MESSAGE_MODEL_URL
    if switched_off == "installation":
        settings.MESSAGE_MODEL_URL = ""
    for text in (b"1", b"2"):
        factories.run(job, by=edda)
        back_up(agent.api, {"a": text})
    settings.MESSAGE_MODEL_URL = url
    assert reword_due() == 0
    assert model.asked == []


def test_the_form_offers_it_where_the_installation_names_one(
    model: Model, job: Job, edda: User, settings: Any
) -> None:
    """S0-14: and says to where the lines go."""
    page = html(edda, f"/jobs/manage/{job.public_id}/edit")
    assert "language model at 127.0.0.1:" in page
    settings.MESSAGE_MODEL_URL = ""
    assert "language model" not in html(edda, f"/jobs/manage/{job.public_id}/edit")
