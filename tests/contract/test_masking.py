"""The agent hides at least what the portal hides: one table, held against both programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agents.models import Function
from jobs.models import RunLog
from sites import credentials, encryption, masking
from sites.models import Target, User
from tests import factories
from tests.factories import Enrolled
from yardmaster.agent import marks
from yardmaster.agent.work import masker_for
from yardmaster.sdk import Function as AgentFunction
from yardmaster.sdk import Outcome, Tool

pytestmark = pytest.mark.django_db

SECRET = {"type": "string", "secret": True}
RULES = {
    "s": SECRET,
    "by-name": {"properties": {"key": {"$ref": "#/$defs/s"}}},
    "others": {"properties": {"open-1": {}}, "additionalProperties": SECRET},
}


@pytest.mark.parametrize(
    ("schema", "parameters", "settings"),
    [
        ({"properties": {"a": SECRET, "b": {}}}, {"a": "hidden-1", "b": "open-1"}, {}),
        ({"properties": {"a": {"$ref": "#/$defs/s"}}}, {"a": "hidden-1"}, {}),
        ({"properties": {"a": {"anyOf": [{}, {"$ref": "#/$defs/s"}]}}}, {"a": "hidden-1"}, {}),
        ({"properties": {"a": {"items": SECRET}}}, {"a": ["hidden-1", "hidden-2"]}, {}),
        ({"properties": {"a": {"prefixItems": [{}, SECRET]}}}, {"a": ["hidden-1", "hidden-2"]}, {}),
        ({"properties": {"a": {"unevaluatedItems": SECRET}}}, {"a": ["hidden-1"]}, {}),
        ({"properties": {"a": {"$ref": "#/$defs/by-name"}}}, {"a": {"key": "hidden-1"}}, {}),
        ({"$ref": "#/$defs/by-name"}, {"key": "hidden-1", "b": "open-1"}, {}),
        ({"allOf": [{"if": {}, "then": {"$ref": "#/$defs/by-name"}}]}, {"key": "hidden-1"}, {}),
        ({"$ref": "#/$defs/others"}, {"open-1": "open-1", "c": "hidden-1"}, {}),
        ({"additionalProperties": {"properties": {"k": SECRET}}}, {"x": {"k": "hidden-1"}}, {}),
        ({"additionalProperties": {"secret": True}}, {"x": {"k": ["hidden-1"]}}, {}),
        ({"unevaluatedProperties": SECRET}, {"x": "hidden-1"}, {}),
        ({"patternProperties": {"^pw_": SECRET}}, {"pw_1": "hidden-1", "b": "open-1"}, {}),
        ({"patternProperties": {r"^\p{Lu}": SECRET}}, {"Pw": "hidden-1"}, {}),
        (
            {"dependentSchemas": {"b": {"patternProperties": {"^pw": SECRET}}}},
            {"pw": "hidden-1", "b": "open-1"},
            {},
        ),
        ({"secret": True}, {"x": "hidden-1"}, {}),
        ({"properties": {"x": {"secret": 1}}}, {"x": "hidden-1"}, {}),
        # A mark counts at every depth.
        ({"properties": {"key": SECRET}}, {"login": [{"key": "hidden-1"}], "b": "open-1"}, {}),
        # A schema that marks nothing says that nothing is secret; settings have no schema.
        ({}, {"password": "open-1"}, {"api-key": "hidden-1", "user": "open-2"}),
        ({}, {}, {"line": [{"password": {"old": "hidden-1", "new": "hidden-2"}}], "pw": "open-1"}),
        # A number, and how JSON writes a text.
        ({"properties": {"pin": {"secret": True}}}, {"pin": 271828, "b": 314159}, {}),
        ({"properties": {"a": SECRET}}, {"a": 'hid"den-1'}, {}),
    ],
)
def test_the_agent_hides_what_the_portal_hides(
    agent: Enrolled,
    press: Target,
    edda: User,
    schema: dict[str, Any],
    parameters: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    schema = schema | {"$defs": RULES}
    work = AgentFunction("f", "", "nothing", schema, (), lambda *_: Outcome(""))
    tool = Tool("t", "1", {"f": work}, None)
    hello = {"version": "1", "platform": "", "tools": [tool.advertised()]}
    assert agent.api.post("hello", hello).status_code == 200
    press.settings = settings
    press.save()
    job = factories.job(press, Function.objects.get(name="f"), owner=edda, parameters=parameters)
    factories.run(job, by=edda)
    [held] = agent.api.claim()
    texts = [*leaves(parameters), *leaves(settings)]
    log = "".join(f"{text}\n" for text in texts)

    sent = masker_for({"t": tool}, held).whole(log)
    agent.api.move(held, "running")
    agent.api.post(agent.api.of(held, "log"), {"offset": 0, "text": log})
    shown = RunLog.objects.get().text

    assert sent == shown
    hidden = [text.startswith(("hid", "2718")) for text in texts]
    assert [line == masking.HIDDEN for line in shown.splitlines()] == hidden


@pytest.mark.once
@pytest.mark.parametrize(
    "secret",
    [
        {"password": "abc"},
        {"password": 'p"ä/ß hidden'},
        {"private_key": "-----BEGIN X PRIVATE KEY-----\nhidden-line\n-----END", "passphrase": "pp"},
        {"headers": {"Authorization": "Bearer hidden-1", "X-Key": "hidden-2"}},
    ],
)
def test_the_agent_hides_what_the_portal_hides_of_a_credential(secret: dict[str, Any]) -> None:
    sealed = encryption.sealed({"now": secret, "before": []})
    told = credentials.handed_out("plc", sealed)
    hidden = credentials.texts(sealed)
    assert hidden
    run = {"tool": "t", "version": "", "function": "f", "credentials": told, "target": {}}
    masker = masker_for({}, run)
    for text in hidden:
        assert masker.whole(text) == masking.HIDDEN, text


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield str(value)


@pytest.mark.parametrize(
    "name",
    [
        *("password", "passwd", "passphrase", "db_password", "pass", "PWD", "client_secret"),
        *("secretKey", "access-token", "credentials", "private_key", "privatekey", "apiKey"),
        *("api-key", "community", "snmp_community", "Authorization", "authorized_user"),
        *("user", "host", "passage", "key", "keys", "path", "bypass_proxy", "monkey"),
    ],
)
def test_both_guess_the_same_of_a_name(name: str) -> None:
    assert marks.looks_secret(name) == masking.looks_secret(name)


def test_both_look_for_the_same_words() -> None:
    """Whoever adds a word to one of the two finds this test."""
    assert marks._LOOKS_SECRET == masking._SECRET
