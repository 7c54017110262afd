"""A parameter that a schema marks as secret is shown at no door, however it is marked."""

from __future__ import annotations

from typing import Any

import pytest

from agents import catalogue
from agents.models import Function
from jobs.models import Job, RunLog
from sites.models import Target, User
from tests import factories
from tests.factories import Enrolled
from tests.pages import as_
from tests.people import API

pytestmark = pytest.mark.once

PASSWORD = "hunter2hunter2"
DEEP = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "folder": {"type": "string"},
        "login": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "key": {"$ref": "#/$defs/hidden"}},
        },
        "codes": {"type": "array", "items": {"type": "string", "secret": True}},
        "extras": {"type": "array", "items": True},
    },
    "$defs": {"hidden": {"type": "string", "secret": True, "minLength": 8}},
}
GIVEN: dict[str, Any] = {
    "folder": "/srv/plans",
    "login": {"name": "backup", "key": PASSWORD},
    "codes": [PASSWORD + "1"],
}


def advertise(agent: Enrolled, version: str, schema: dict[str, Any]) -> Function:
    function = {"name": "backup", "produces": "nothing", "parameters": schema}
    tool = {"name": "deep", "version": version, "functions": [function]}
    catalogue.advertise(agent.agent, [tool])
    return Function.objects.get(tool__name="deep")


@pytest.fixture
def deep(agent: Enrolled, press: Target, edda: User) -> Job:
    return factories.job(press, advertise(agent, "1.0", DEEP), owner=edda, parameters=GIVEN)


def test_secrets_deep_inside_are_shown_at_no_door(deep: Job, edda: User, alice: User) -> None:
    run = factories.run(deep, by=edda)
    for user in (edda, alice):
        client = as_(user)
        for path in (
            f"/jobs/{run.public_id}",
            f"/jobs/manage/{deep.public_id}",
            f"/jobs/manage/{deep.public_id}/edit",
            f"/api/v1/runs/{run.public_id}",
            f"/api/v1/jobs/{deep.public_id}",
        ):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert PASSWORD not in answer.content.decode(), path
            assert "/srv/plans" in answer.content.decode(), path
    page = as_(alice).get(f"/admin/jobs/job/{deep.pk}/change/").content.decode()
    assert "/srv/plans" in page
    assert PASSWORD not in page


def test_what_was_a_secret_in_an_older_version_stays_one(
    deep: Job, agent: Enrolled, edda: User
) -> None:
    run = factories.run(deep, by=edda)
    advertise(agent, "2.0", {"type": "object"})
    for path in (f"/jobs/{run.public_id}", f"/jobs/manage/{deep.public_id}"):
        page = as_(edda).get(path).content.decode()
        assert "/srv/plans" in page
        assert PASSWORD not in page


def test_saving_the_form_keeps_what_it_does_not_show(deep: Job, edda: User) -> None:
    path = f"/jobs/manage/{deep.public_id}/edit"
    sent = {
        "name": "Renamed",
        "who": "automatic",
        "run_timeout": "60",
        "queue_timeout": "60",
        "p_folder": "/srv/other",
    }
    assert as_(edda).post(path, sent).status_code == 302
    deep.refresh_from_db()
    assert deep.parameters == GIVEN | {"folder": "/srv/other"}


def test_a_refusal_says_no_stored_secret(deep: Job, agent: Enrolled, edda: User) -> None:
    """An editor changes a job whose secret another person wrote."""
    key = {"type": "string", "secret": True, "maxLength": 3}
    login = {"type": "object", "properties": {"key": key}}
    advertise(
        agent,
        "2.0",
        {"type": "object", "minProperties": 9, "properties": {"login": login}},
    )
    api = API(edda)
    for method, path, body in (
        ("patch", f"/api/v1/jobs/{deep.public_id}", {"name": "Other"}),
        ("post", f"/api/v1/jobs/{deep.public_id}/run", {}),
    ):
        answer = getattr(api, method)(path, body)
        assert answer.status_code == 422
        text = answer.content.decode()
        assert PASSWORD not in text
        assert "parameters.login.key" in answer.json()["errors"]
        assert "minProperties" in text


def test_secrets_deep_inside_are_masked_in_the_log(deep: Job, agent: Enrolled, edda: User) -> None:
    factories.run(deep, by=edda)
    held = agent.api.claim()[0]
    agent.api.move(held, "running")
    agent.api.post(
        agent.api.of(held, "log"), {"offset": 0, "text": f"key={PASSWORD} code={PASSWORD}1\n"}
    )
    assert RunLog.objects.get().text == "key=•••• code=••••\n"


def test_secrets_of_the_target_are_masked_in_all_that_an_agent_sends(
    job: Job, agent: Enrolled, edda: User
) -> None:
    """The claim hands its settings out, so what it sends back may hold them."""
    job.target.settings = {"user": "backup", "servers": [{"password": PASSWORD}]}
    job.target.save()
    run = factories.run(job, by=edda)
    held = agent.api.claim()[0]
    assert held["target"]["settings"] == job.target.settings
    agent.api.move(held, "running", message=f"as backup:{PASSWORD}")
    agent.api.post(agent.api.of(held, "log"), {"offset": 0, "text": f"as backup:{PASSWORD}\n"})
    item = {"id": held["id"], "attempt": held["attempt"], "status": "failed", "error": PASSWORD}
    answer = agent.api.put("results", {"results": [item]})
    assert answer.json()["results"][0]["code"] == "ok"
    run.refresh_from_db()
    assert RunLog.objects.get().text == "as backup:••••\n"
    assert run.error == "••••"
    assert run.transitions.get(to_status="running").message == "as backup:••••"


SECRET = {"type": "string", "secret": True}


@pytest.mark.parametrize(
    ("schema", "hidden"),
    [
        ({"additionalProperties": SECRET}, {"some": PASSWORD}),
        ({"unevaluatedProperties": SECRET}, {"some": PASSWORD}),
        ({"allOf": [{"additionalProperties": {"$ref": "#/$defs/s"}}]}, {"some": PASSWORD}),
        ({"$ref": "#/$defs/o"}, {"some": PASSWORD}),
        ({"additionalProperties": {"items": SECRET}}, {"some": [PASSWORD]}),
        ({"patternProperties": {"^pw_": SECRET}}, {"pw_1": PASSWORD}),
        (
            {"dependentSchemas": {"folder": {"patternProperties": {"^pw": SECRET}}}},
            {"pw": PASSWORD},
        ),
        (
            {"properties": {"login": {"patternProperties": {".": SECRET}}}},
            {"login": {"k": PASSWORD}},
        ),
        (
            {"properties": {"login": {"unevaluatedProperties": SECRET}}},
            {"login": {"k": PASSWORD}},
        ),
        (
            {
                "properties": {
                    "login": {"dependentSchemas": {"k": {"additionalProperties": SECRET}}}
                }
            },
            {"login": {"k": PASSWORD}},
        ),
        ({"properties": {"codes": {"unevaluatedItems": SECRET}}}, {"codes": [PASSWORD]}),
        ({"additionalProperties": {"properties": {"key": SECRET}}}, {"x": {"key": PASSWORD}}),
    ],
)
def test_what_is_secret_without_a_name_of_its_own_is_hidden_too(
    agent: Enrolled, press: Target, edda: User, schema: dict[str, Any], hidden: dict[str, Any]
) -> None:
    schema = {
        **schema,
        "$defs": {"s": SECRET, "o": {"properties": {"folder": {}}, "additionalProperties": SECRET}},
        "properties": {"folder": {"type": "string"}, **schema.get("properties", {})},
    }
    if "$ref" in schema or "allOf" in schema:
        del schema["properties"]
    given = {"folder": "/srv/plans", **hidden}
    job = factories.job(press, advertise(agent, "1.0", schema), owner=edda, parameters=given)
    run = factories.run(job, by=edda)
    for path in (f"jobs/{job.public_id}", f"runs/{run.public_id}"):
        answer = API(edda).get(path)
        assert PASSWORD not in answer.content.decode()
        if "allOf" not in schema:  # there the folder is one of the further properties
            assert answer.json()["parameters"]["folder"] == "/srv/plans"
    held = agent.api.claim()[0]
    assert held["parameters"] == given


def test_a_hidden_secret_goes_to_no_other_address_of_the_parameters(
    agent: Enrolled, press: Target, edda: User
) -> None:
    """An editor cannot have a password that another person wrote sent to their own machine."""
    schema = {"properties": {"host": {"type": "string"}, "folder": {}, "key": SECRET}}
    given = {"host": "10.20.4.11", "folder": "/a", "key": PASSWORD}
    job = factories.job(press, advertise(agent, "1.0", schema), owner=edda, parameters=given)
    api, path = API(edda), f"jobs/{job.public_id}"
    moved = {"host": "198.51.100.66", "folder": "/a", "key": "••••"}
    for answer in (
        api.patch(path, {"parameters": moved}),
        api.post(f"{path}/run", {"parameters": moved}),
    ):
        assert answer.status_code == 422
        assert "“key”" in answer.json()["errors"]["parameters"][0]
    assert api.patch(path, {"parameters": moved | {"key": "another"}}).status_code == 200
    stays = {"host": "198.51.100.66", "folder": "/b", "key": "••••"}
    assert api.patch(path, {"parameters": stays}).status_code == 200
    job.refresh_from_db()
    assert job.parameters == stays | {"key": "another"}


FORM = {"name": "n", "who": "automatic", "run_timeout": "60", "queue_timeout": "60"}


def test_the_form_asks_for_a_secret_whose_address_is_another(
    agent: Enrolled, press: Target, edda: User
) -> None:
    schema = {"properties": {"host": {"type": "string"}, "folder": {}, "key": SECRET}}
    given = {"host": "10.20.4.11", "folder": "/a", "key": PASSWORD}
    job = factories.job(press, advertise(agent, "1.0", schema), owner=edda, parameters=given)
    client, path = as_(edda), f"/jobs/manage/{job.public_id}/edit"
    sent = FORM | {"p_host": "198.51.100.66", "p_folder": "/a", "p_key": ""}
    answer = client.post(path, sent)
    assert "write “key” out again" in answer.content.decode()
    job.refresh_from_db()
    assert job.parameters == given
    assert client.post(path, sent | {"p_host": given["host"], "p_folder": "/b"}).status_code == 302
    job.refresh_from_db()
    assert job.parameters == given | {"folder": "/b"}
    assert client.post(path, sent | {"p_key": "another"}).status_code == 302
    job.refresh_from_db()
    assert (job.parameters["host"], job.parameters["key"]) == ("198.51.100.66", "another")


def test_the_form_keeps_the_blanks_of_a_secret(agent: Enrolled, press: Target, edda: User) -> None:
    codes = {"type": "array", "items": SECRET}
    schema = {"properties": {"key": SECRET, "codes": codes, "note": {"type": "string"}}}
    job = factories.job(press, advertise(agent, "1.0", schema), owner=edda)
    sent = FORM | {"p_key": " pass word ", "p_codes": " one \r\n\r\ntwo ", "p_note": " n "}
    assert as_(edda).post(f"/jobs/manage/{job.public_id}/edit", sent).status_code == 302
    job.refresh_from_db()
    assert job.parameters == {"key": " pass word ", "codes": [" one ", "two "], "note": "n"}


def test_the_form_keeps_the_type_of_what_a_schema_lists(
    agent: Enrolled, press: Target, edda: User
) -> None:
    schema = {
        "properties": {
            "level": {"type": "integer", "enum": [0, 1, 2], "default": 1},
            "mode": {"enum": ["fast", "slow"]},
            "odd": {"enum": [True, None, 0.5]},
        }
    }
    job = factories.job(press, advertise(agent, "1.0", schema), owner=edda)
    client, path = as_(edda), f"/jobs/manage/{job.public_id}/edit"
    sent = FORM | {"p_level": "0", "p_mode": "slow", "p_odd": "true"}
    assert client.post(path, sent).status_code == 302
    job.refresh_from_db()
    assert job.parameters == {"level": 0, "mode": "slow", "odd": True}
    page = client.get(path).content.decode()
    for key in ("0", "slow", "true"):
        assert f'<option value="{key}" selected>' in page
    assert client.post(path, sent | {"p_odd": "0.5", "p_mode": ""}).status_code == 302
    job.refresh_from_db()
    assert job.parameters == {"level": 0, "odd": 0.5}
    assert "Select a valid choice" in client.post(path, sent | {"p_level": "3"}).content.decode()


def test_the_form_removes_a_secret_that_may_be_missing(
    agent: Enrolled, press: Target, edda: User
) -> None:
    schema = {"properties": {"key": SECRET, "other": SECRET}, "required": ["other"]}
    given = {"key": PASSWORD, "other": PASSWORD}
    job = factories.job(press, advertise(agent, "1.0", schema), owner=edda, parameters=given)
    client, path = as_(edda), f"/jobs/manage/{job.public_id}/edit"
    page = client.get(path).content.decode()
    assert "Remove the stored value of Key" in page
    assert "Remove the stored value of Other" not in page
    assert client.post(path, FORM | {"x_key": "on", "x_other": "on"}).status_code == 302
    job.refresh_from_db()
    assert job.parameters == {"other": PASSWORD}
    page = client.get(path).content.decode()
    assert "Remove the stored value" not in page
    assert page.count("Empty keeps what is there.") == 1


def test_a_zero_in_the_form_is_a_value(agent: Enrolled, press: Target, edda: User) -> None:
    schema = {
        "properties": {
            "pin": {"type": "integer", "secret": True},
            "port": {"type": "integer"},
            "extras": {"type": "object"},
        },
        "required": ["extras"],
    }
    given = {"pin": 4711, "port": 22, "extras": {"a": 1}}
    job = factories.job(press, advertise(agent, "1.0", schema), owner=edda, parameters=given)
    client, path = as_(edda), f"/jobs/manage/{job.public_id}/edit"
    sent = FORM | {"p_pin": "", "p_port": "0", "p_extras": "{}"}
    page = client.post(path, sent).content.decode()
    assert "The address was changed (“port”)" in page
    assert "write “pin” out again, or tick “Remove the stored value of Pin”." in page
    assert client.post(path, sent | {"p_pin": "0"}).status_code == 302
    job.refresh_from_db()
    assert job.parameters == {"pin": 0, "port": 0, "extras": {}}


def test_the_form_asks_for_a_secret_that_it_does_not_show(
    agent: Enrolled, press: Target, edda: User
) -> None:
    """A newer version of the function has no field for it, and yet it is sent along."""
    older = {"properties": {"key": SECRET, "host": {"type": "string"}}}
    newer = {"properties": {"host": {"type": "string"}}}
    given = {"host": "10.20.4.11", "key": PASSWORD}
    job = factories.job(press, advertise(agent, "1.0", older), owner=edda, parameters=given)
    advertise(agent, "2.0", newer)
    path = f"/jobs/manage/{job.public_id}/edit"
    answer = as_(edda).post(path, FORM | {"p_host": "198.51.100.66"})
    assert answer.status_code == 422
    assert "make another job for the new address" in answer.content.decode()
    job.refresh_from_db()
    assert job.parameters == given
