"""Every example of docs/api.md is run against a real portal, and answers as the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sites.models import Organization, Site, User
from tests import factories
from tests.backups import send
from tests.contract.conftest import CONVERT
from tests.waiting import PATIENCE_S
from tests.web import WebAgent, hang_up, portal

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Printed between the examples; no answer holds it.
SCISSORS = "---8<---"
MORE = "…"


def examples() -> list[tuple[str, list[tuple[str, str]]]]:
    """The commands of the page, each with what it prints: its kind and text."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            found.append((text, []))
        else:
            found[-1][1].append((kind, text))
    return found


@contextmanager
def backing_up(agent: WebAgent) -> Iterator[None]:
    """Let an agent carry out each backup that is started, and leave the rest waiting."""
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.05):
            for run in agent.claim():
                agent.move(run, "running")
                if run["function"] == "backup":
                    send(agent, run, {"plc/main.st": b"x := 1;\n"})
                    agent.finish(run)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE_S)


def test_each_example_answers_as_the_page_says(
    works: Organization, hall: Site, alice: User, edda: User, tmp_path: Path
) -> None:
    for number in (1, 2):
        factories.target(hall, f"Press line {number}")
    tools = [factories.FOLDER, CONVERT]
    enrolled = factories.enrolled(works, "hall-agent", site=hall, by=alice, tools=tools)
    backup = enrolled.agent.functions.get(function__name="backup").function
    factories.job(hall.targets.get(name="Press line 1"), backup, owner=edda)
    (settings, _), *shown = examples()
    assert re.findall(r"^\w+", settings, re.MULTILINE) == ["YARDMASTER", "TOKEN"]
    script = f"\necho; echo '{SCISSORS}'\n".join(text for text, _ in shown)
    with portal(tmp_path / "log") as port:
        names = os.environ | {
            "YARDMASTER": f"http://127.0.0.1:{port}",
            "TOKEN": factories.access_token(edda),
            "no_proxy": "*",
        }
        with backing_up(WebAgent(enrolled.api.token, port)):
            said = subprocess.run(
                ["bash", "-eu", "-c", script],
                cwd=tmp_path,
                env=names,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
        hang_up()
    assert said.stderr == ""
    assert said.returncode == 0
    printed = said.stdout.split(f"{SCISSORS}\n")
    assert len(printed) == len(shown) > 10
    for (command, expected), text in zip(shown, printed, strict=True):
        compare(command, expected, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def compare(command: str, expected: list[tuple[str, str]], text: str) -> None:
    """Hold what a command printed to what the page shows of it, one after the other."""
    rest = text.strip()
    for kind, example in expected:
        if kind == "json":
            answer, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end:].strip()
            assert alike(json.loads(example), answer), f"{command}\n{answer}"
        else:
            assert rest.startswith(example.strip()), f"{command}\n{rest}"
            rest = "" if kind == "csv" else rest.removeprefix(example.strip()).strip()
    assert rest == "", command


def alike(example: Any, answer: Any) -> bool:
    """Say whether an answer has the names of an example and values of the same kind."""
    if isinstance(example, dict) and isinstance(answer, dict):
        wanted = example.keys() - {MORE}
        same = wanted <= answer.keys() if MORE in example else wanted == answer.keys()
        return same and all(alike(example[name], answer[name]) for name in wanted)
    if isinstance(example, list) and isinstance(answer, list):
        return bool(example) == bool(answer) and all(alike(example[0], one) for one in answer)
    if isinstance(example, int | float) and not isinstance(example, bool):
        return isinstance(answer, int | float) and not isinstance(answer, bool)
    return type(example) is type(answer)
