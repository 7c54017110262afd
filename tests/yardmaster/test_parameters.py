"""What the annotations of a function become, in the form and in its body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from agents.schemas import check, errors_in
from yardmaster.sdk import Context, Field, Secret, function, tool, tool_of
from yardmaster.testkit import run

if TYPE_CHECKING:
    from decimal import Decimal

pytestmark = pytest.mark.once


@dataclass
class Window:
    start: int
    length: Annotated[float, "Minutes"] = 1.5


@tool(name="all", version="1")
class All:
    @function()
    def kinds(
        self,
        context: Context,
        name: str,
        window: Window | None = None,
        count: Annotated[int, Field("How many", minimum=1)] = 3,
        mode: Literal["fast", "slow"] = "slow",
        tags: list[str] | None = None,
        limits: dict[str, float] | None = None,
        on: bool = False,
        pin: Secret = "",
    ) -> str:
        """Say what was given.

        Args:
            name: What it is called,
                in a few words.
            on: Whether it is on.
        """
        return repr((name, window, count, mode, tags, limits, on, pin))


SCHEMA = dict(tool_of(All).functions["kinds"].parameters)


def test_types_and_words_become_the_schema() -> None:
    assert tool_of(All).functions["kinds"].title == "Say what was given"
    assert SCHEMA["required"] == ["name"]
    assert SCHEMA["properties"] == {
        "name": {"type": "string", "description": "What it is called, in a few words."},
        "window": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "start": {"type": "integer"},
                "length": {"type": "number", "description": "Minutes", "default": 1.5},
            },
            "required": ["start"],
        },
        "count": {"type": "integer", "title": "How many", "minimum": 1, "default": 3},
        "mode": {"enum": ["fast", "slow"], "default": "slow"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "limits": {"type": "object", "additionalProperties": {"type": "number"}},
        "on": {"type": "boolean", "description": "Whether it is on.", "default": False},
        "pin": {"type": "string", "secret": True},
    }


def test_the_portal_takes_the_schema_and_holds_values_against_it() -> None:
    assert check(SCHEMA) > 0
    assert errors_in(SCHEMA, {"name": "n", "window": {"start": 1}, "count": 1}) == []
    assert errors_in(SCHEMA, {"count": 0})


def test_the_body_gets_what_its_annotations_say() -> None:
    given = {
        "name": "n",
        "window": {"start": 2.0},
        "tags": ["a"],
        "limits": {"x": 1},
        "mode": None,
        "pin": "4711",
    }
    report = run(All, "kinds", given)
    assert report.status == "completed"
    expected = ("n", Window(2, 1.5), 3, "slow", ["a"], {"x": 1.0}, False, "••••")
    assert report.message == repr(expected)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "“name” is missing"),
        ({"name": 1}, "“name” has to be a text"),
        ({"name": "n", "count": True}, "“count” has to be a whole number"),
        ({"name": "n", "count": 1.5}, "“count” has to be a whole number"),
        ({"name": "n", "mode": "x"}, "“mode” has to be one of fast, slow"),
        ({"name": "n", "tags": "x"}, "“tags” has to be a list"),
        ({"name": "n", "tags": [1]}, "“tags” has to be a text"),
        ({"name": "n", "limits": []}, "“limits” has to be an object"),
        ({"name": "n", "window": {}}, "In “window”: The parameter “start” is missing"),
        ({"name": "n", "nam": 1}, "no parameter “nam”"),
    ],
)
def test_a_value_of_the_wrong_type_never_reaches_the_body(
    given: dict[str, Any], words: str
) -> None:
    report = run(All, "kinds", given)
    assert report.status == "failed"
    assert words in report.message


def untyped(self, context, x):
    """Do it."""


def unknown(self: object, context: Context, x: set[str]) -> None:
    """Do it."""


def for_checkers_alone(self: object, context: Context, x: Decimal) -> None:
    """Do it."""


def many(self: object, context: Context, *x: str) -> None:
    """Do it."""


def reserved(self: object, context: Context, credentials: str) -> None:
    """Do it."""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (reserved, "ask for it with"),
        (untyped, "“x” has no type"),
        (unknown, "which no JSON Schema is made of"),
        (for_checkers_alone, "type is not known"),
        (many, "no parameter that a job can name"),
        (lambda self, context: None, "needs a title or a docstring"),
    ],
)
def test_what_no_form_can_ask_for_is_said_when_the_tool_is_loaded(body: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        function()(body)
