"""Who reaches which door of the agent API, and that there are no others."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.test import Client

from jobs.models import JobRun
from tests.contract.agent_protocol.conftest import JSON, TABLE, TABLES, UNDER, ask, check_problem
from tests.routes import routes
from tests.tables import contents, counts

pytestmark = pytest.mark.django_db
NAMES = [f"{row[0]} {row[1]}" for row in TABLE]


@pytest.mark.once
def test_every_route_is_in_the_table():
    table = {(method, UNDER + route) for method, route, *_ in TABLE}
    assert table == routes(under=UNDER)


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_who_reaches_a_door(world, row):
    free = row[1] == "enroll"
    before, held = counts(TABLES), contents(JobRun)
    for who in ("anonymous", "a person", "retired"):
        if free:
            continue
        answer = world.ask(who, row)
        assert (answer.status_code, check_problem(answer)["code"]) == (401, "not_authenticated")
        assert answer["WWW-Authenticate"] == "Bearer"
    nothing = None
    for who, status in zip(("far", "rival", "holder"), row[4], strict=True):
        with transaction.atomic():
            answer = world.ask(who, row)
            said = b"".join(answer) if answer.streaming else answer.content
            assert answer.status_code == status, (who, said)
            if who != "holder" and status == 404:
                # What is another's looks like what does not exist.
                nothing = nothing or check_problem(answer)
                assert check_problem(answer) == nothing
            if row[1] in ("heartbeat", "runs", "results"):
                [item] = next(iter(v for v in answer.json().values() if isinstance(v, list)))
                assert item["code"] == ("ok" if who == "holder" else "not_found")
            if free:
                # Each asks with the same code: what one did must not stand in the next one's way.
                transaction.set_rollback(True)
        if who != "holder" and not free and row[1] != "hello":
            assert (counts(TABLES), contents(JobRun)) == (before, held), who


METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


@pytest.mark.once
def test_other_methods_are_405(world):
    for route in {row[1] for row in TABLE}:
        allowed = {one for one, address in routes(under=UNDER) if address == UNDER + route}
        for method in METHODS - allowed:
            answer = world.holder.request(method, world.path(route), {})
            assert answer.status_code == 405, (method, route)
            assert set(answer["Allow"].split(", ")) == allowed, (method, route)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer \xff", "Bearer " + "x" * 10_000, "bearer {} x"],
)
def test_an_authorization_that_is_none_is_401(world, header):
    answer = ask(world, HTTP_AUTHORIZATION=header.replace("{}", world.holder.token))
    assert (answer.status_code, check_problem(answer)["code"]) == (401, "not_authenticated")


@pytest.mark.once
@pytest.mark.parametrize(
    "path",
    [
        "nonsense",
        "runs/1",
        "runs/{run}/",
        "runs/{run}/attempts/x/log",
        "runs/{run}/attempts/-1/log",
        "runs/{run}/attempts/9999999999/log",
        "runs/{run}/attempts/1/files/x",
        "runs/{run}/attempts/1/snapshot/content/x",
        "runs/{run}/attempts/1/snapshot/content/../../seal",
        "claims/",
        "%00",
        "runs/%2e%2e",
    ],
)
def test_addresses_that_do_not_exist_are_404(world, path):
    answer = world.holder.post(path.format(run=world.run["id"]))
    assert (answer.status_code, check_problem(answer)["code"]) == (404, "not_found")


def test_guessing_codes_is_slowed_down(world):
    """Twenty wrong codes from one address, and it has to wait; others do not."""
    body = world.body("enroll")
    anonymous = world.askers["anonymous"]
    for _ in range(20):
        answer = anonymous.post("enroll", body | {"code": "AAAA-BBBB-CCCC"})
        assert answer.status_code == 403
    answer = anonymous.post("enroll", body)
    assert (answer.status_code, check_problem(answer)["code"]) == (429, "too_many_requests")
    assert answer["Retry-After"] == "60"
    elsewhere = Client(REMOTE_ADDR="10.20.4.11").post("/api/v1/agent/enroll", body, JSON)
    assert elsewhere.status_code == 201
