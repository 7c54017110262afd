"""An agent's JSON Schema costs the portal no more time than its text is long."""

from __future__ import annotations

from typing import Any

import pytest

from agents.models import Function
from sites.models import Target, User
from tests.factories import Enrolled
from tests.people import API

pytestmark = pytest.mark.django_db

# A backtracking engine needs 2 to the power of 60 steps to say no.
LONG, WITHOUT_END = "^(a+)+$", "a" * 60 + "!"


def advertise(agent: Enrolled, parameters: dict[str, Any]) -> Any:
    tool = {"name": "t", "version": "1", "functions": [{"name": "f", "parameters": parameters}]}
    return agent.api.post("hello", {"version": "1", "platform": "", "tools": [tool]})


def start(press: Target, by: User, parameters: dict[str, Any]) -> Any:
    function = Function.objects.get(name="f").public_id
    body = {"target": str(press.public_id), "function": str(function), "parameters": parameters}
    return API(by).post("runs", body)


@pytest.mark.parametrize(
    ("schema", "parameters", "field"),
    [
        ({"properties": {"name": {"pattern": LONG}}}, {"name": WITHOUT_END}, "parameters.name"),
        (
            {"patternProperties": {LONG: {}}, "additionalProperties": False},
            {WITHOUT_END: 1},
            "parameters",
        ),
        (
            {"patternProperties": {LONG: {}}, "unevaluatedProperties": False},
            {WITHOUT_END: 1},
            "parameters",
        ),
        ({"propertyNames": {"pattern": LONG}}, {WITHOUT_END: 1}, "parameters"),
    ],
)
def test_a_pattern_says_no_in_linear_time(
    agent: Enrolled, press: Target, edda: User, schema: Any, parameters: Any, field: str
) -> None:
    assert advertise(agent, schema).status_code == 200
    answer = start(press, edda, parameters)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [field]
    good = {name.replace("!", "a"): "aaa" for name in parameters}
    assert start(press, edda, good).status_code == 201


@pytest.mark.parametrize("pattern", ["(?=a)a", "(a)\\1", "((a{1000}){1000}){1000}"])
@pytest.mark.parametrize("place", ["pattern", "patternProperties"])
def test_a_pattern_that_only_backtracking_can_match_is_refused_at_hello(
    agent: Enrolled, pattern: str, place: str
) -> None:
    schema: Any = (
        {"pattern": pattern} if place == "pattern" else {"patternProperties": {pattern: {}}}
    )
    answer = advertise(agent, {"properties": {"name": schema}})
    assert answer.status_code == 422
    [said] = answer.json()["errors"]["tools"]
    assert pattern in said
    assert "linear time" in said
    assert not Function.objects.filter(name="f").exists()


def test_a_schema_from_before_that_cannot_be_used_refuses_its_parameters(
    agent: Enrolled, press: Target, edda: User
) -> None:
    assert advertise(agent, {"properties": {"name": {"pattern": "^a"}}}).status_code == 200
    version = Function.objects.get(name="f").versions.get()
    version.parameters = {"properties": {"name": {"pattern": "(?=a)a"}}}
    version.save()
    answer = start(press, edda, {"name": "a"})
    assert answer.status_code == 422
    assert "schema" in answer.json()["errors"]["parameters"][0]
