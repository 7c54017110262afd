"""The OpenAPI schema is valid, names every address, and tells the truth about the answers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction

from tests.people import API
from tests.routes import routes

# Found again by everyone: the same examples each time.
SEED = 20261121
EXAMPLES = 3
# By the first word of an address: something that is there.
THERE = {
    "organizations": "works",
    "members": "member",
    "teams": "team",
    "invitations": "invitation",
    "sites": "hall",
    "targets": "press",
    "connections": "link",
    "snapshots": "snapshot",
    "functions": "backup",
    "agents": "agent",
    "pools": "pool",
    "credentials": "login",
    "jobs": "job",
    "runs": "run",
    "notifications": "notification",
    "subscriptions": "hall",
    "tokens": "token",
    "uploads": "upload",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    from drf_spectacular.generators import SchemaGenerator

    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


@pytest.mark.once
def test_the_schema_is_valid(tmp_path, document):
    """Without a warning either: the command fails on one."""
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    assert yaml.safe_load(file.read_text())["paths"].keys() == document["paths"].keys()


@pytest.mark.once
def test_the_schema_names_every_address(document):
    """Of agents too. The schema itself and its page are for people."""
    told = {
        (method.upper(), address)
        for address, methods in document["paths"].items()
        for method in methods
    }
    there = {
        (method, "/" + address.replace("<uuid:", "{").replace("<attempt:", "{").replace(">", "}"))
        for method, address in routes(under="api/v1/")
        if method != "ANY" and address not in ("api/v1/schema", "api/v1/docs")
    }
    assert told == {(method, address.replace("<sha256:", "{")) for method, address in there}


@pytest.mark.once
def test_every_address_tells_its_errors(document):
    problem = {"$ref": "#/components/schemas/Problem"}
    for address, methods in document["paths"].items():
        for operation in methods.values():
            errors = {s: r for s, r in operation["responses"].items() if s >= "400"}
            assert {"400", "404", "422", "503"} <= errors.keys(), address
            for answer in errors.values():
                assert answer["content"] == {"application/problem+json": {"schema": problem}}


# The filters that name something by its id.
NAMED = {"organization": "works", "site": "hall", "target": "press", "function": "backup"}


@pytest.mark.once
def test_every_filter_and_sort_is_told_and_taken(world, document):
    """In words, with its type, and with each value that is named; and no other sort is taken."""
    callers = {who: API(world.cast[who]) for who in ("alice", "edda")}
    for address, methods in document["paths"].items():
        told = {one["name"]: one for one in methods.get("get", {}).get("parameters", ())}
        if "cursor" not in told or address == "/api/v1/tokens":
            continue
        there = world.ids["converted" if "/runs/" in address else THERE.get(kind(address), "hall")]
        path = address.replace("{id}", there)
        api = callers["edda" if address.endswith("/inputs") else "alice"]
        for name in told.keys() - {"id", "cursor", "page_size", "format"}:
            assert told[name].get("description"), (address, name)
            for value in values(world, name, told[name]["schema"]):
                answer = api.get(path, **{name: value})
                assert answer.status_code == 200, (address, name, value, answer.content)
        assert api.get(path, ordering="nonsense").status_code == 422, address


def kind(address: str) -> str:
    """The first word of an address."""
    return address.split("/")[3]


def values(world: Any, name: str, schema: dict[str, Any]) -> list[str]:
    """Values that a parameter takes: those that it names, or one of its type."""
    if "enum" in (one := schema.get("items", schema)):
        return list(one["enum"])
    if one.get("format") == "uuid":
        return [world.ids[NAMED.get(name, name)]]
    if one.get("format") == "date-time":
        return ["2026-01-01T00:00:00Z"]
    return ["true", "false"] if one["type"] == "boolean" else ["press"]


@pytest.mark.once
def test_the_docs_page_asks_no_other_host(client, db):
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    text = page.content.decode()
    assert "https://" not in text.replace("https://127.0.0.1", "")
    assert "<script>" not in text
    assert "<style" not in text
    policy = page["Content-Security-Policy"]
    assert "script-src 'self'" in policy


@pytest.fixture
def kept_connection(world, agent) -> Iterator[None]:
    """Keep the test's own connection and transaction over requests that pass a real handler.

    After all fixtures that ask through Django's test client, which connects the signals again.
    """
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


# What the schema lets through and a database does not take, PostgreSQL refuses first.
@pytest.mark.postgres
@pytest.mark.usefixtures("kept_connection")
def test_no_request_made_from_the_schema_breaks_anything(world, agent, document):
    """Examples from the schema, valid and not, sent by four: no 5xx, and no answer that the schema
    denies.
    """
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, strategies
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    tokens = [agent.api.token, *(API(world.cast[who]).token for who in ("alice", "vera"))]
    senders = [{}, *({"Authorization": f"Bearer {token}"} for token in tokens)]
    from config.wsgi import application

    @schemathesis.serializer("application/x-ndjson")
    def one_a_line(context: Any, value: Any) -> bytes:
        return "\n".join(map(json.dumps, value if isinstance(value, list) else [value])).encode()

    schema = schemathesis.openapi.from_dict(document)
    schema.app = application
    checks = (
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    )
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        strategy = operation.as_strategy() | operation.as_strategy(
            generation_mode=schemathesis.GenerationMode.NEGATIVE
        )

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy, there=strategies.booleans())
        def ask(case: Any, there: bool) -> None:
            if there and "id" in (case.path_parameters or {}):
                # Else hardly an example would get past "not found".
                case.path_parameters["id"] = world.ids[THERE[kind(case.path)]]
            for headers in senders:
                with warnings.catch_warnings(), transaction.atomic():
                    warnings.simplefilter("ignore")
                    case.call_and_validate(headers=headers, checks=checks)
                    # Each finds the place as it was.
                    transaction.set_rollback(True)

        ask()
        asked += 1
    assert asked > 60
