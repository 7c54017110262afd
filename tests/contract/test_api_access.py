"""Every address of the API × every principal of the permission matrix, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from sites import access_tokens
from tests.contract.conftest import World
from tests.people import API
from tests.routes import ANY, routes

PRINCIPALS = ("anonymous", "oscar", "mia", "vera", "edda", "manuel", "alice", "root")


@dataclass(frozen=True)
class Row:
    method: str
    route: str  # as the resolver has it
    address: str  # with names of the world
    expected: str  # one status per principal, in order
    body: Any = None


# Oscar belongs elsewhere, Mia has no grant, Vera views the hall and Edda edits it, Edda started
# every run and owns the job, Manuel is a manager, Alice administers, Root is the superuser.
OWN = "401 200 200 200 200 200 200 200"
NO_TOKEN = "401 403 403 403 403 403 403 403"
OPEN = "200 200 200 200 200 200 200 200"
RUN_VIEW = "401 404 404 200 200 404 200 200"
STARTER = "401 404 404 403 200 404 403 403"
SEEN_BY_MANAGER = "401 404 404 200 200 200 200 200"
ADMINISTERED = "401 404 404 403 403 403 {ok} {ok}"
UNSEEN = "401 404 404 404 404 404 {ok} {ok}"
LATER = (timezone.now() + timedelta(days=1)).isoformat()

TABLE = [
    Row("GET", "schema", "schema", OPEN),
    Row("GET", "docs", "docs", OPEN),
    Row("GET", "me", "me", OWN),
    Row("GET", "uploads/<uuid:id>", "uploads/{upload}", OWN),
    Row("PUT", "uploads/<uuid:id>", "uploads/{upload}?offset=0", OWN, b"abc"),
    Row("GET", "organizations", "organizations", OWN),
    Row(
        "GET",
        "organizations/<uuid:id>",
        "organizations/{works}",
        "401 404 200 200 200 200 200 200",
    ),
    Row(
        "PATCH",
        "organizations/<uuid:id>",
        "organizations/{works}",
        "401 404 403 403 403 403 200 200",
        {"keep_logs_days": 90},
    ),
    Row("GET", "members", "members", OWN),
    # Edda's; her job needs another owner before she can leave.
    Row("GET", "members/<uuid:id>", "members/{member}", "401 404 403 403 200 403 200 200"),
    Row(
        "PATCH",
        "members/<uuid:id>",
        "members/{member}",
        "401 404 403 403 403 403 200 200",
        {"role": "manager"},
    ),
    Row("DELETE", "members/<uuid:id>", "members/{member}", "401 404 403 403 403 403 422 422"),
    Row("GET", "invitations", "invitations", OWN),
    Row(
        "POST",
        "invitations",
        "invitations",
        "401 422 403 403 403 403 201 201",
        {"organization": "{works}", "email": "new@example.com"},
    ),
    Row("GET", "invitations/<uuid:id>", "invitations/{invitation}", UNSEEN.format(ok=200)),
    Row("DELETE", "invitations/<uuid:id>", "invitations/{invitation}", UNSEEN.format(ok=204)),
    Row(
        "POST",
        "invitations/<uuid:id>/send",
        "invitations/{invitation}/send",
        UNSEEN.format(ok=200),
    ),
    Row("GET", "teams", "teams", OWN),
    Row(
        "POST",
        "teams",
        "teams",
        "401 422 403 403 403 403 201 201",
        {"organization": "{works}", "name": "Day shift"},
    ),
    Row("GET", "teams/<uuid:id>", "teams/{team}", UNSEEN.format(ok=200)),
    Row("PATCH", "teams/<uuid:id>", "teams/{team}", UNSEEN.format(ok=200), {"name": "Late"}),
    Row("DELETE", "teams/<uuid:id>", "teams/{team}", UNSEEN.format(ok=204)),
    Row(
        "PUT",
        "teams/<uuid:id>/members/<uuid:member>",
        "teams/{team}/members/{member}",
        UNSEEN.format(ok=200),
    ),
    Row(
        "DELETE",
        "teams/<uuid:id>/members/<uuid:member>",
        "teams/{team}/members/{member}",
        UNSEEN.format(ok=200),
    ),
    Row(
        "PUT",
        "teams/<uuid:id>/roles",
        "teams/{team}/roles",
        UNSEEN.format(ok=200),
        {"kind": "site", "id": "{hall}", "role": "viewer"},
    ),
    Row("GET", "sites", "sites", OWN),
    Row(
        "POST",
        "sites",
        "sites",
        "401 422 403 403 403 403 201 201",
        {"organization": "{works}", "name": "Annex"},
    ),
    Row("GET", "sites/<uuid:id>", "sites/{hall}", SEEN_BY_MANAGER),
    Row("PATCH", "sites/<uuid:id>", "sites/{hall}", ADMINISTERED.format(ok=200), {"name": "Hall"}),
    Row(
        "POST",
        "sites/<uuid:id>/pause",
        "sites/{hall}/pause",
        ADMINISTERED.format(ok=200),
        {"until": LATER, "reason": "Maintenance"},
    ),
    Row("GET", "sites/<uuid:id>/schedule", "sites/{hall}/schedule", SEEN_BY_MANAGER),
    Row(
        "PUT",
        "sites/<uuid:id>/schedule",
        "sites/{hall}/schedule",
        ADMINISTERED.format(ok=200),
        {"schedule": {"kind": "daily", "time": "02:00"}},
    ),
    Row("POST", "sites/<uuid:id>/resume", "sites/{hall}/resume", ADMINISTERED.format(ok=200)),
    # A run is waiting there.
    Row("DELETE", "sites/<uuid:id>", "sites/{hall}", ADMINISTERED.format(ok=409)),
    Row("GET", "targets", "targets", OWN),
    Row(
        "POST",
        "targets",
        "targets",
        "401 422 422 403 201 403 201 403",
        {"site": "{hall}", "name": "Press line 2"},
    ),
    Row("GET", "targets/<uuid:id>", "targets/{press}", SEEN_BY_MANAGER),
    Row(
        "PATCH",
        "targets/<uuid:id>",
        "targets/{press}",
        "401 404 404 403 200 403 200 403",
        {"address": "10.0.0.1"},
    ),
    Row("DELETE", "targets/<uuid:id>", "targets/{press}", ADMINISTERED.format(ok=409)),
    Row(
        "GET",
        "targets/<uuid:id>/snapshots",
        "targets/{press}/snapshots",
        SEEN_BY_MANAGER,
    ),
    Row("GET", "connections/<uuid:id>/jobs", "connections/{link}/jobs", SEEN_BY_MANAGER),
    Row("GET", "snapshots/<uuid:id>", "snapshots/{snapshot}", RUN_VIEW),
    Row("GET", "snapshots/<uuid:id>/tree", "snapshots/{snapshot}/tree?path=plc", RUN_VIEW),
    Row("GET", "snapshots/<uuid:id>/file", "snapshots/{snapshot}/file?path=readme", RUN_VIEW),
    Row("GET", "snapshots/<uuid:id>/content", "snapshots/{snapshot}/content?path=readme", RUN_VIEW),
    Row("GET", "snapshots/<uuid:id>/diff", "snapshots/{snapshot}/diff", RUN_VIEW),
    Row("GET", "functions", "functions", OWN),
    Row("GET", "functions/<uuid:id>", "functions/{backup}", "401 404 200 200 200 200 200 200"),
    Row("GET", "agents", "agents", OWN),
    Row(
        "POST",
        "agents",
        "agents",
        "401 422 403 403 403 403 201 201",
        {"organization": "{works}", "name": "Gate"},
    ),
    Row("GET", "agents/<uuid:id>", "agents/{agent}", SEEN_BY_MANAGER),
    Row("PATCH", "agents/<uuid:id>", "agents/{agent}", ADMINISTERED.format(ok=200), {"slots": 3}),
    Row("DELETE", "agents/<uuid:id>", "agents/{agent}", ADMINISTERED.format(ok=204)),
    Row("POST", "agents/<uuid:id>/code", "agents/{agent}/code", ADMINISTERED.format(ok=201)),
    Row("POST", "agents/<uuid:id>/rotate", "agents/{agent}/rotate", ADMINISTERED.format(ok=200)),
    Row(
        "POST",
        "agents/<uuid:id>/pause",
        "agents/{agent}/pause",
        ADMINISTERED.format(ok=200),
        {"until": LATER, "reason": "Maintenance"},
    ),
    Row("POST", "agents/<uuid:id>/resume", "agents/{agent}/resume", ADMINISTERED.format(ok=200)),
    Row("GET", "pools", "pools", OWN),
    Row(
        "POST",
        "pools",
        "pools",
        "401 422 403 403 403 403 201 201",
        {"organization": "{works}", "name": "Heavy", "agents": []},
    ),
    Row("GET", "pools/<uuid:id>", "pools/{pool}", SEEN_BY_MANAGER),
    Row("PATCH", "pools/<uuid:id>", "pools/{pool}", ADMINISTERED.format(ok=200), {"name": "Heavy"}),
    Row("DELETE", "pools/<uuid:id>", "pools/{pool}", ADMINISTERED.format(ok=204)),
    Row("GET", "credentials", "credentials", OWN),
    Row(
        "POST",
        "credentials",
        "credentials",
        "401 422 403 403 403 403 201 201",
        {
            "organization": "{works}",
            "name": "Line login",
            "kind": "password",
            "secret": {"password": "open sesame"},
        },
    ),
    # It stands on a target that Edda edits.
    Row("GET", "credentials/<uuid:id>", "credentials/{login}", "401 404 404 404 200 404 200 200"),
    Row(
        "PATCH",
        "credentials/<uuid:id>",
        "credentials/{login}",
        "401 404 404 404 403 404 200 200",
        {"username": "gate", "secret": {"password": "sesame open"}},
    ),
    Row(
        "DELETE",
        "credentials/<uuid:id>",
        "credentials/{login}",
        "401 404 404 404 403 404 409 409",
    ),
    Row("GET", "jobs", "jobs", OWN),
    Row(
        "POST",
        "jobs",
        "jobs",
        "401 422 422 403 201 201 201 403",
        {"target": "{press}", "function": "{backup}", "name": "Nightly"},
    ),
    Row(
        "POST",
        "jobs/preview",
        "jobs/preview",
        "401 422 422 200 200 200 200 200",
        {"site": "{hall}", "schedule": {"kind": "daily", "time": "02:00"}},
    ),
    Row("GET", "occurrences", "occurrences", OWN),
    Row("GET", "coverage", "coverage", OWN),
    Row("GET", "jobs/<uuid:id>", "jobs/{job}", SEEN_BY_MANAGER),
    Row(
        "PATCH",
        "jobs/<uuid:id>",
        "jobs/{job}",
        "401 404 404 403 200 403 200 403",
        {"name": "Nightly"},
    ),
    Row("DELETE", "jobs/<uuid:id>", "jobs/{job}", "401 404 404 403 409 403 409 403"),
    Row(
        "POST",
        "jobs/<uuid:id>/pause",
        "jobs/{job}/pause",
        "401 404 404 403 200 403 200 403",
        {"until": LATER, "reason": "Maintenance"},
    ),
    Row("POST", "jobs/<uuid:id>/resume", "jobs/{job}/resume", "401 404 404 403 200 403 200 403"),
    # It is at work, for Edda: those who may see the run get it, Manuel may not.
    Row("POST", "jobs/<uuid:id>/run", "jobs/{job}/run", "401 404 404 403 200 409 200 403"),
    Row("GET", "runs", "runs", OWN),
    Row(
        "POST",
        "runs",
        "runs",
        "401 422 422 403 201 201 201 403",
        {"target": "{press}", "function": "{backup}"},
    ),
    Row("GET", "runs/<uuid:id>", "runs/{run}", RUN_VIEW),
    Row("POST", "runs/<uuid:id>/cancel", "runs/{waiting}/cancel", STARTER),
    # Of an ad hoc run: by its starter alone.
    Row(
        "POST",
        "runs/<uuid:id>/retry",
        "runs/{converted}/retry",
        "401 404 404 403 201 404 403 403",
    ),
    Row(
        "POST", "runs/<uuid:id>/call-off", "runs/{run}/call-off", "401 404 404 403 409 404 409 403"
    ),
    Row("POST", "runs/<uuid:id>/pin", "runs/{run}/pin", "401 404 404 403 200 404 200 403"),
    Row("POST", "runs/<uuid:id>/unpin", "runs/{run}/unpin", "401 404 404 403 200 404 200 403"),
    Row(
        "POST",
        "runs/<uuid:id>/accept",
        "runs/{proposed}/accept",
        "401 404 404 403 200 404 200 403",
        {"comment": "As ordered."},
    ),
    Row(
        "POST",
        "runs/<uuid:id>/reject",
        "runs/{proposed}/reject",
        "401 404 404 403 200 404 200 403",
        {"comment": "Nobody ordered it."},
    ),
    Row("GET", "proposals", "proposals", OWN),
    Row("GET", "runs/<uuid:id>/transitions", "runs/{run}/transitions", RUN_VIEW),
    Row("GET", "runs/<uuid:id>/log", "runs/{run}/log?offset=0", RUN_VIEW),
    Row("GET", "runs/<uuid:id>/inputs", "runs/{converted}/inputs", STARTER),
    Row(
        "GET",
        "runs/<uuid:id>/inputs/<uuid:file>/content",
        "runs/{converted}/inputs/{input}/content",
        STARTER,
    ),
    Row("GET", "runs/<uuid:id>/files", "runs/{converted}/files", RUN_VIEW),
    Row(
        "GET",
        "runs/<uuid:id>/files/<uuid:file>/content",
        "runs/{converted}/files/{file}/content",
        RUN_VIEW,
    ),
    Row("GET", "runs/<uuid:id>/records", "runs/{run}/records", RUN_VIEW),
    Row("GET", "runs/<uuid:id>/late-reports", "runs/{run}/late-reports", RUN_VIEW),
    Row("GET", "runs/<uuid:id>/diff", "runs/{run}/diff", RUN_VIEW),
    # What each was told themselves: this one is Edda's.
    Row("GET", "notifications", "notifications", OWN),
    Row("POST", "notifications/read", "notifications/read", OWN),
    Row(
        "GET",
        "notifications/<uuid:id>",
        "notifications/{notification}",
        "401 404 404 404 200 404 404 404",
    ),
    Row(
        "POST",
        "notifications/<uuid:id>/read",
        "notifications/{notification}/read",
        "401 404 404 404 200 404 404 404",
    ),
    Row("GET", "subscriptions", "subscriptions", OWN),
    Row("GET", "subscriptions/<uuid:id>", "subscriptions/{hall}", SEEN_BY_MANAGER),
    Row(
        "PUT",
        "subscriptions/<uuid:id>",
        "subscriptions/{hall}",
        SEEN_BY_MANAGER,
        {"level": "everything"},
    ),
    # A token manages no tokens; a log-in does (tests/sites/test_api_tokens.py).
    Row("GET", "tokens", "tokens", NO_TOKEN),
    Row("POST", "tokens", "tokens", NO_TOKEN, {"name": "ci"}),
    Row("GET", "tokens/<uuid:id>", "tokens/{token}", NO_TOKEN),
    Row("DELETE", "tokens/<uuid:id>", "tokens/{token}", NO_TOKEN),
]


def test_the_table_names_every_address():
    there = routes(under="api/v1/", without=("api/v1/agent/",))
    # What answers everything else with a problem.
    there.discard((ANY, "api/v1/"))
    assert {(row.method, f"api/v1/{row.route}") for row in TABLE} == there


def test_cell_by_cell(world):
    # On PostgreSQL those whom the rules let through, or keep out, in different ways.
    some = ("oscar", "mia", "edda", "manuel", "alice")
    asking = PRINCIPALS if connection.vendor == "sqlite" else some
    callers = {name: API(world.cast.get(name)) for name in asking}
    wrong = {}
    for row in TABLE:
        expected = dict(zip(PRINCIPALS, map(int, row.expected.split()), strict=True))
        for name, api in callers.items():
            got = ask(world, api, row)
            if got != expected[name]:
                wrong[f"{row.method} {row.route}", name] = f"{got}, not {expected[name]}"
    assert wrong == {}


def ask(world: World, api: API, row: Row) -> int:
    """Ask as one principal and undo what it did; gives the status, after a look at a refusal."""
    raw = isinstance(row.body, bytes)
    with transaction.atomic():
        answer = api.request(
            row.method,
            world.fill(row.address),
            row.body if raw else world.fill(row.body),
            kind="application/octet-stream" if raw else "application/json",
        )
        transaction.set_rollback(True)
    if answer.streaming:
        assert b"".join(answer)
    if answer.status_code >= 400:
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
    if answer.status_code == 401:
        assert answer["WWW-Authenticate"] == "Bearer"
    return answer.status_code


@pytest.mark.once
def test_an_agents_token_opens_nothing(world, agent):
    api = API(token=agent.api.token)
    guarded = [row for row in TABLE if row.expected.startswith("401")]
    assert {ask(world, api, row) for row in guarded} == {401}


@pytest.mark.once
def test_a_token_that_may_only_read_changes_nothing(world):
    """Whatever its person may: Alice administers the organization."""
    alice = world.cast["alice"]
    _, token = access_tokens.issue(alice, name="report", scope="read")
    api = API(token=token)
    answered: dict[str, set[int]] = {}
    guarded = [row for row in TABLE if row.expected.startswith("401")]
    for row in guarded:
        if row.method != "GET":
            answered.setdefault(row.method, set()).add(ask(world, api, row))
    assert answered == {
        "POST": {403},
        "PUT": {403},
        "PATCH": {403},
        "DELETE": {403},
    }
    assert "may only read" in api.post("sites", {"name": "Annex"}).json()["detail"]
    for row in guarded:
        if row.method == "GET" and row.expected != NO_TOKEN:
            assert ask(world, api, row) == ask(world, API(alice), row), row.address


def test_what_may_not_be_seen_is_told_like_what_is_not_there(world):
    for path in ("sites/{hall}", "targets/{press}", "jobs/{job}", "runs/{run}", "agents/{agent}"):
        address = world.fill(path)
        missing = f"{address.rpartition('/')[0]}/00000000-0000-4000-8000-000000000000"
        api = API(world.cast["oscar"])
        assert api.get(address).json() == api.get(missing).json()
