"""What is typed into the fields of parameters: kept as it is meant, or refused in words."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from agents import catalogue
from agents.models import Function
from jobs.models import Job
from sites.models import Target, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.test_admin import form
from tests.pages import as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]

SENT = {"name": "n", "who": "automatic", "run_timeout": "60", "queue_timeout": "60"}
SECRET = {"type": "string", "secret": True}
# No column can hold these, or no other program would read them as this one does.
UNREADABLE = [
    (r'{"a": "\ud800"}', "lone surrogates"),
    (r'{"a": "\u0000"}', "NUL"),
    ('{"a": NaN}', "NaN is not JSON"),
    ('{"a": -Infinity}', "-Infinity is not JSON"),
    ('{"a": 1e999}', "larger than a double"),
    ('{"a": 9223372036854775808}', "64 bits"),
    ('{"a": ' + "1" * 5000 + "}", "64 bits"),
    ("[" * 3000 + "]" * 3000, "Nested deeper"),
    ('{"a": 1, "a": 2}', "same key twice"),
    ('{"a": ', "This is not JSON"),
]


def function(agent: Enrolled, schema: dict[str, Any], version: str = "1") -> Function:
    functions = [{"name": "f", "parameters": schema}]
    catalogue.advertise(
        agent.agent, [{"name": "typed", "version": version, "functions": functions}]
    )
    return Function.objects.get(tool__name="typed")


def edit(job: Job) -> str:
    return f"/jobs/manage/{job.public_id}/edit"


def add(made: Function) -> str:
    return f"/jobs/manage/add?function={made.public_id}"


def stored(job: Job) -> Any:
    return Job.objects.get(pk=job.pk).parameters


def control(page: str, name: str) -> str:
    """One field's control, whole."""
    found = re.search(
        rf'<(textarea|select)[^>]* name="{name}".*?</\1>|<input[^>]* name="{name}"[^>]*>',
        page,
        re.DOTALL,
    )
    assert found
    return unescape(found[0])


@pytest.mark.parametrize(("text", "words"), UNREADABLE)
def test_json_that_no_column_can_hold_is_an_error_of_the_field(
    text: str, words: str, agent: Enrolled, press: Target, edda: User
) -> None:
    made = function(agent, {"properties": {"o": {"type": "object"}}})
    job = factories.job(press, made, owner=edda, parameters={"o": {"b": 1}})
    answer = as_(edda).post(edit(job), SENT | {"p_o": text})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert words in unescape(page)
    assert text in control(page, "p_o")  # to be mended
    assert stored(job) == {"o": {"b": 1}}


@pytest.mark.parametrize("field", ["parameters", "tags"])
@pytest.mark.parametrize(("text", "words"), UNREADABLE)
def test_the_admin_reads_json_as_strictly(
    field: str, text: str, words: str, job: Job, alice: User
) -> None:
    page = reverse("admin:jobs_job_change", args=[job.pk])
    answer = as_(alice).post(page, form(target=0, function=0) | {field: text})
    assert answer.status_code == 200
    assert words in unescape(answer.content.decode())
    assert (stored(job), Job.objects.get().tags) == ({}, [])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("n", "1e400", "larger than a double"), ("i", "9223372036854775808", "64 bits")],
)
def test_a_number_that_no_column_can_hold_is_an_error_of_its_field(
    name: str, text: str, words: str, agent: Enrolled, press: Target, edda: User
) -> None:
    made = function(agent, {"properties": {"n": {"type": "number"}, "i": {"type": "integer"}}})
    job = factories.job(press, made, owner=edda)
    answer = as_(edda).post(edit(job), SENT | {f"p_{name}": text})
    assert answer.status_code == 422
    assert words in unescape(answer.content.decode())
    assert as_(edda).post(edit(job), SENT | {"p_n": "1.5e3", "p_i": "9"}).status_code == 302
    assert stored(job) == {"n": 1500, "i": 9}


@pytest.mark.parametrize(
    "older",
    [
        {"patternProperties": {"^pin": SECRET}},
        {"properties": {"b": {}}, "additionalProperties": SECRET},
    ],
)
def test_the_form_knows_a_secret_that_an_older_version_marked_without_its_name(
    agent: Enrolled, press: Target, edda: User, older: dict[str, Any]
) -> None:
    """A new job holds nothing yet from which to see that it is hidden."""
    function(agent, older)
    made = function(agent, {"properties": {"b": {}, "pin": {"type": "string"}}}, "2")
    page = as_(edda).get(add(made)).content.decode()
    assert 'type="password"' in control(page, "p_pin")
    assert 'type="text"' in control(page, "p_b")
    sent = SENT | {"target": str(press.public_id), "p_pin": "hunter2", "name": ""}
    answer = as_(edda).post(add(made), sent)
    assert answer.status_code == 422
    assert "hunter2" not in answer.content.decode()
    assert as_(edda).post(add(made), sent | {"name": "n"}).status_code == 302
    job = Job.objects.get()
    assert "hunter2" not in as_(edda).get(edit(job)).content.decode()
    assert as_(edda).post(edit(job), SENT | {"p_pin": "", "p_b": "x"}).status_code == 302
    assert stored(job) == {"pin": "hunter2", "b": "x"}


def test_no_default_of_the_schema_takes_the_place_of_a_kept_secret(
    agent: Enrolled, press: Target, edda: User
) -> None:
    schema = {
        "properties": {
            "codes": {"type": "array", "items": SECRET, "default": ["none"]},
            "login": {"type": "object", "secret": True, "default": {"user": "nobody"}},
            "level": {"enum": ["low", "high"], "secret": True, "default": "low"},
        },
        "required": ["level"],
    }
    kept = {"codes": ["one"], "login": {"user": "backup"}, "level": "high"}
    job = factories.job(press, function(agent, schema), owner=edda, parameters=kept)
    page = as_(edda).get(edit(job)).content.decode()
    shown = {f"p_{name}": text_in(control(page, f"p_{name}")) for name in kept}
    assert shown == {"p_codes": "", "p_login": "", "p_level": ""}
    assert as_(edda).post(edit(job), SENT | shown).status_code == 302
    assert stored(job) == kept


def text_in(markup: str) -> str:
    """What a browser would send of a control that nobody touched."""
    if markup.startswith("<select"):
        chosen = re.search(r'<option value="([^"]*)" selected', markup)
        first = re.search(r'<option value="([^"]*)"', markup)
        assert first
        return (chosen or first)[1]
    return re.sub(r"<[^>]*>", "", markup).strip()


def test_a_choice_keeps_its_type_where_two_values_read_alike(
    agent: Enrolled, press: Target, edda: User
) -> None:
    values: list[Any] = [1, "1", True, "true", {"b": 1, "a": 2}, '"1"', "plain"]
    made = function(agent, {"properties": {"v": {"enum": values}}})
    job = factories.job(press, made, owner=edda)
    client = as_(edda)
    keys = keys_in(client.get(edit(job)).content.decode())
    assert len(set(keys)) == len(values)
    for key, value in zip(keys, values, strict=True):
        assert client.post(edit(job), SENT | {"p_v": key}).status_code == 302
        found = stored(job)["v"]
        assert (found, type(found)) == (value, type(value))
        assert chosen_in(client.get(edit(job)).content.decode()) == [key]
        # So it does in a form that was refused.
        refused = client.post(edit(job), SENT | {"p_v": key, "name": ""})
        assert chosen_in(refused.content.decode()) == [key]


def keys_in(page: str, which: str = "") -> list[str]:
    """The keys of the choices of the parameter v."""
    found = re.search(r'<select[^>]* name="p_v".*?</select>', page, re.DOTALL)
    assert found
    return [unescape(key) for key in re.findall(rf'<option value="([^"]+)"{which}', found[0])]


def chosen_in(page: str) -> list[str]:
    return keys_in(page, " selected")


def test_a_choice_stays_the_same_when_its_list_changes(
    agent: Enrolled, press: Target, edda: User
) -> None:
    """The page stood open while an agent brought another version."""
    made = function(agent, {"properties": {"v": {"enum": ["slow", 1, "2"]}}})
    job = factories.job(press, made, owner=edda)
    keys = keys_in(as_(edda).get(edit(job)).content.decode())
    function(agent, {"properties": {"v": {"enum": [2, "2", 1, "fast", "slow"]}}}, "2")
    for key, value in zip(keys, ["slow", 1, "2"], strict=True):
        assert as_(edda).post(edit(job), SENT | {"p_v": key}).status_code == 302
        assert stored(job) == {"v": value}


def test_a_whole_number_is_chosen_however_it_is_written(
    agent: Enrolled, press: Target, edda: User
) -> None:
    made = function(agent, {"properties": {"v": {"enum": [0, 1]}}, "required": ["v"]})
    job = factories.job(press, made, owner=edda, parameters={"v": 1.0})
    assert chosen_in(as_(edda).get(edit(job)).content.decode()) == ["1"]
