"""An agent's JSON Schema costs the portal no more time than its text is long.

Each hostile one here would keep a process at work for hours where its bound were missing.
"""

from __future__ import annotations

from typing import Any

import pytest

from agents import enrolment
from agents.models import Function
from agents.unfolding import MOST_BYTES, MOST_LEVELS, MOST_VALUES
from sites.models import Organization, Target, User
from tests.factories import AgentAPI, Enrolled
from tests.people import API

pytestmark = [pytest.mark.django_db, pytest.mark.once]

# A backtracking engine needs 2 to the power of 60 steps to say no.
LONG, WITHOUT_END = "^(a+)+$", "a" * 60 + "!"


def tool_of(*schemas: dict[str, Any]) -> dict[str, Any]:
    functions = [
        {"name": f"f{number or ''}", "parameters": schema} for number, schema in enumerate(schemas)
    ]
    return {"name": "t", "version": "1", "functions": functions}


def advertise(agent: Enrolled, *parameters: dict[str, Any]) -> Any:
    tool = tool_of(*parameters)
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


def rule(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def chain(length: int, word: str, times: int) -> dict[str, Any]:
    """A schema whose rules each name the next one, so many times, beside `word`."""
    rules = {f"r{n}": {word: [rule(f"r{n + 1}")] * times} for n in range(length)}
    return {"$defs": {**rules, f"r{length}": {"type": "integer"}}, **rule("r0")}


def unevaluated(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {"a": {}}}
    for _ in range(levels):
        schema = {"$ref": "#/$defs/x", "unevaluatedProperties": False, "then": schema}
    return {**schema, "$defs": {"x": {}}}


ROUND = {"items": rule("r"), "properties": {"a": rule("r")}}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (chain(25, "allOf", 2), f"{MOST_VALUES:,} values"),
        (chain(25, "anyOf", 2), f"{MOST_VALUES:,} values"),
        (chain(25, "oneOf", 2), f"{MOST_VALUES:,} values"),
        (chain(800, "allOf", 2), f"{MOST_VALUES:,} values"),
        # On the stack of the engine, which ends the process when it is full.
        (chain(1000, "allOf", 1), f"{MOST_LEVELS} levels"),
        (unevaluated(12), f"{MOST_VALUES:,} values"),
        ({"enum": list(range(MOST_VALUES))}, f"{MOST_VALUES:,} values"),
        ({"allOf": [{"pattern": f"a{n}"} for n in range(100)]}, f"{MOST_VALUES:,} values"),
        (
            {"patternProperties": {f"a{n}": {} for n in range(100)}},
            f"{MOST_VALUES:,} values",
        ),
        ({"description": "x" * MOST_BYTES}, "64 KiB"),
        ({"$defs": {"r": ROUND}}, "#/$defs/r contains itself"),
        ({"$defs": {"a": rule("b"), "b": {"not": rule("a")}}}, "contains itself"),
        # Where the engine would read a reference otherwise than the bounds do.
        ({"properties": {"a": {"$id": "http://example.com/"}}}, "$id"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "draft-04"),
        ({"$defs": {"a~1b": {}, "a/b": {}}, "$ref": "#/$defs/a~1b"}, "#/$defs/a~1b"),
        ({"$defs": {"%61": {}, "a": {}}, "$ref": "#/$defs/%61"}, "#/$defs/%61"),
    ],
)
def test_a_schema_beyond_the_bounds_is_refused_at_hello(
    agent: Enrolled, schema: dict[str, Any], words: str
) -> None:
    answer = advertise(agent, schema)
    assert answer.status_code == 422
    [said] = answer.json()["errors"]["tools"]
    assert said.startswith("t.f: ")
    assert words in said
    assert not Function.objects.filter(name="f").exists()


@pytest.mark.parametrize(
    "schema",
    [
        chain(7, "allOf", 2),
        chain(18, "allOf", 1),
        unevaluated(5),
        {"enum": list(range(MOST_VALUES - 10))},
        {"$id": "http://example.com/", "$schema": "https://json-schema.org/draft/2020-12/schema"},
        {"properties": {"$id": {"type": "string"}, "$ref": {}, "pattern": {}}},
    ],
)
def test_a_schema_within_the_bounds_is_taken(agent: Enrolled, schema: dict[str, Any]) -> None:
    assert advertise(agent, schema).status_code == 200


def test_the_schemas_of_all_functions_are_bounded_together(agent: Enrolled) -> None:
    large = {"enum": list(range(MOST_VALUES - 10))}
    assert advertise(agent, *[large] * 40).status_code == 200
    answer = advertise(agent, *[large] * 41)
    assert answer.status_code == 422
    assert "200,000 values together" in answer.json()["errors"]["tools"][0]


def test_a_refused_schema_leaves_no_trace_of_its_hello(agent: Enrolled) -> None:
    before = list(agent.agent.functions.values_list("pk", flat=True))
    assert advertise(agent, {}, chain(25, "allOf", 2)).status_code == 422
    assert list(agent.agent.functions.values_list("pk", flat=True)) == before


def test_a_code_is_not_used_up_by_a_refused_schema(works: Organization, alice: User) -> None:
    _, code = enrolment.add_agent(works, name="new", by=alice)
    api = AgentAPI("")
    body = {"code": code, "version": "1", "tools": [tool_of(chain(25, "allOf", 2))]}
    assert api.post("enroll", body).status_code == 422
    # Schemas are looked at for those who have a code alone.
    assert api.post("enroll", body | {"code": "AAAA-BBBB-CCCC"}).status_code == 403
    assert api.post("enroll", body | {"tools": [tool_of({})]}).status_code == 201


def test_no_more_errors_are_told_than_people_read(
    agent: Enrolled, press: Target, edda: User
) -> None:
    assert (
        advertise(agent, {"properties": {"n": {"items": {"type": "integer"}}}}).status_code == 200
    )
    answer = start(press, edda, {"n": ["x"] * 1000})
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == [f"parameters.n.{n}" for n in range(20)]


@pytest.mark.parametrize(
    ("times", "words"), [(200, "too many to say which"), (4000, "too many values to hold")]
)
def test_values_too_many_for_their_schema_are_refused_as_a_whole(
    agent: Enrolled, press: Target, edda: User, times: int, words: str
) -> None:
    schema = {"properties": {"n": {"items": {"allOf": [False] * times}}}}
    assert advertise(agent, schema).status_code == 200
    answer = start(press, edda, {"n": [0] * 2000})
    assert answer.status_code == 422
    [said] = answer.json()["errors"]["parameters"]
    assert words in said
    assert start(press, edda, {"n": []}).status_code == 201


def test_a_long_text_counts_by_its_length(agent: Enrolled, press: Target, edda: User) -> None:
    """Each error is made with its own copy of the text."""
    schema = {"properties": {"n": {"allOf": [{"type": "integer"}] * 1500}}}
    assert advertise(agent, schema).status_code == 200
    answer = start(press, edda, {"n": "x" * 500_000})
    assert answer.status_code == 422
    assert "too many" in answer.json()["errors"]["parameters"][0]


def test_a_recursive_schema_from_before_refuses_its_parameters(
    agent: Enrolled, press: Target, edda: User
) -> None:
    assert advertise(agent, {}).status_code == 200
    version = Function.objects.get(name="f").versions.get()
    version.parameters = {"$defs": {"r": {"allOf": [rule("r"), rule("r")]}}, **rule("r")}
    version.save()
    answer = start(press, edda, {"name": "a"})
    assert answer.status_code == 422
    assert "schema" in answer.json()["errors"]["parameters"][0]
