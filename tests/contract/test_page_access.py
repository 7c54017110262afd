"""Every portal page × every principal: who sees what; a page that is not in the table fails."""

from __future__ import annotations

import re
from copy import copy
from http.cookies import SimpleCookie

import pytest
from django.db import transaction
from django.test import Client

from tests.contract.conftest import World
from tests.routes import routes

# Who asks: nobody, another organization's administrator, a member without grants, a viewer and an
# editor of the site, a manager, an administrator, a superuser without a membership.
PEOPLE = ("nobody", "oscar", "mia", "vera", "edda", "manuel", "alice", "root")

# The run is Edda's and pending, the job hers, at the site that she edits and Vera views. 302 of
# nobody is the way to the log-in page; that of others is the way back after the deed.
TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/favicon.ico"): (302,) * 8,
    # Probes, and metrics for who asks from this machine: no person is asked for.
    ("GET", "/healthz"): (200,) * 8,
    ("GET", "/readyz"): (200,) * 8,
    ("GET", "/metrics"): (200,) * 8,
    # Oscar administers his own organization.
    ("GET", "/health"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("GET", "/profile"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/sites"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/sites/coverage"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/sites/{hall}/schedule"): (302, 404, 404, 403, 403, 403, 200, 200),
    ("POST", "/sites/{hall}/schedule"): (302, 404, 404, 403, 403, 403, 302, 302),
    ("POST", "/sites/{hall}/schedule/preview"): (302, 404, 404, 403, 403, 403, 200, 200),
    ("GET", "/sites/{hall}/pause"): (302, 404, 404, 403, 403, 403, 200, 200),
    ("POST", "/sites/{hall}/pause"): (302, 404, 404, 403, 403, 403, 302, 302),
    ("POST", "/sites/{hall}/resume"): (302, 404, 404, 403, 403, 403, 302, 302),
    # The credential stands on a target that Edda edits.
    ("GET", "/sites/credentials"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/sites/credentials/add"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("GET", "/sites/credentials/{login}"): (302, 404, 404, 404, 200, 404, 200, 200),
    ("GET", "/sites/credentials/{login}/edit"): (302, 404, 404, 404, 403, 404, 200, 200),
    ("GET", "/sites/credentials/{login}/archive"): (302, 404, 404, 404, 403, 404, 200, 200),
    # To put it on a target.
    ("POST", "/sites/credentials/{login}"): (302, 404, 404, 404, 403, 404, 302, 422),
    ("POST", "/sites/credentials/{login}/targets/{link}/remove"): (
        *(302, 404, 404, 404, 302, 404, 302, 403),
    ),
    # Oscar administers his own organization, and Root has chosen this one.
    ("GET", "/members"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("GET", "/members/{member}"): (302, 404, 403, 403, 403, 403, 200, 200),
    ("GET", "/members/{member}/remove"): (302, 404, 403, 403, 403, 403, 200, 200),
    ("GET", "/members/invitations"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("GET", "/members/invitations/add"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("POST", "/members/invitations/{invitation}/send"): (302, *(404,) * 5, 302, 302),
    ("GET", "/members/invitations/{invitation}/revoke"): (302, *(404,) * 5, 200, 200),
    ("GET", "/members/teams"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("GET", "/members/teams/{team}"): (302, *(404,) * 5, 200, 200),
    ("GET", "/members/teams/{team}/delete"): (302, *(404,) * 5, 200, 200),
    ("POST", "/members/teams/{team}/members"): (302, *(404,) * 5, 302, 302),
    ("POST", "/members/teams/{team}/members/{member}/remove"): (302, *(404,) * 5, 302, 302),
    ("POST", "/members/teams/{team}/roles"): (302, *(404,) * 5, 302, 302),
    # For whoever has the link, which went to one address.
    ("GET", "/join/{joining}"): (200,) * 8,
    ("GET", "/jobs"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/jobs/history"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/jobs/history/export"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/jobs/planned"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/jobs/proposals"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("POST", "/jobs/{proposed}/accept"): (302, 404, 404, 403, 302, 404, 302, 403),
    ("POST", "/jobs/{proposed}/reject"): (302, 404, 404, 403, 302, 404, 302, 403),
    ("GET", "/jobs/{waiting}"): (302, 404, 404, 200, 200, 404, 200, 200),
    ("GET", "/jobs/{waiting}/log"): (302, 404, 404, 200, 200, 404, 200, 200),
    ("GET", "/jobs/{converted}/files/{file}"): (302, 404, 404, 200, 200, 404, 200, 200),
    ("POST", "/jobs/{waiting}/cancel"): (302, 404, 404, 403, 302, 404, 403, 403),
    ("POST", "/jobs/{run}/pin"): (302, 404, 404, 403, 302, 404, 302, 403),
    ("POST", "/jobs/{run}/unpin"): (302, 404, 404, 403, 302, 404, 302, 403),
    ("POST", "/jobs/{run}/retry"): (302, 404, 404, 403, 302, 404, 302, 403),
    ("POST", "/jobs/{run}/call-off"): (302, 404, 404, 403, 302, 404, 302, 403),
    ("GET", "/jobs/manage"): (302, 200, 200, 200, 200, 200, 200, 200),
    # Who sees no target at all reads that there is none.
    ("GET", "/jobs/manage/add"): (302, 200, 200, 403, 200, 200, 200, 403),
    ("POST", "/jobs/manage/add/preview"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("POST", "/jobs/manage/{job}/edit/preview"): (302, 404, 404, 200, 200, 200, 200, 200),
    ("GET", "/jobs/manage/{job}"): (302, 404, 404, 200, 200, 200, 200, 200),
    ("GET", "/jobs/manage/{job}/edit"): (302, 404, 404, 403, 200, 403, 200, 403),
    ("GET", "/jobs/manage/{job}/pause"): (302, 404, 404, 403, 200, 403, 200, 403),
    ("POST", "/jobs/manage/{job}/pause"): (302, 404, 404, 403, 302, 403, 302, 403),
    ("POST", "/jobs/manage/{job}/resume"): (302, 404, 404, 403, 302, 403, 302, 403),
    ("GET", "/jobs/manage/{job}/archive"): (302, 404, 404, 403, 200, 403, 200, 403),
    ("POST", "/jobs/manage/{job}/run"): (302, 404, 404, 403, 302, 302, 302, 403),
    # A machine fetches it before it is anybody's.
    ("GET", "/agent/download"): (200,) * 8,
    ("GET", "/agents"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/agents/add"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("GET", "/agents/pools"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("GET", "/agents/pools/add"): (302, 200, 403, 403, 403, 403, 200, 200),
    ("GET", "/agents/pools/{pool}"): (302, 404, 404, 403, 403, 403, 200, 200),
    ("GET", "/agents/pools/{pool}/archive"): (302, 404, 404, 403, 403, 403, 200, 200),
    ("GET", "/agents/{agent}"): (302, 404, 404, 200, 200, 200, 200, 200),
    ("POST", "/agents/{agent}/code"): (302, 404, 404, 403, 403, 403, 302, 302),
    ("POST", "/agents/{agent}/rotate"): (302, 404, 404, 403, 403, 403, 302, 302),
    ("POST", "/agents/{agent}/drain"): (302, 404, 404, 403, 403, 403, 302, 302),
    ("GET", "/agents/{agent}/pause"): (302, 404, 404, 403, 403, 403, 200, 200),
    ("POST", "/agents/{agent}/pause"): (302, 404, 404, 403, 403, 403, 302, 302),
    ("POST", "/agents/{agent}/resume"): (302, 404, 404, 403, 403, 403, 302, 302),
    ("GET", "/agents/{agent}/retire"): (302, 404, 404, 403, 403, 403, 200, 200),
    ("POST", "/organization"): (302, 404, 302, 302, 302, 302, 302, 302),
    ("POST", "/profile/tokens/{token}/revoke"): (302, 404, 404, 404, 302, 404, 404, 404),
    ("POST", "/profile/sessions/end"): (302,) * 8,
    # What each was told themselves, and what they want to hear of.
    ("GET", "/notifications"): (302, 200, 200, 200, 200, 200, 200, 200),
    ("POST", "/notifications/read"): (302,) * 8,
    ("POST", "/notifications/{notification}/read"): (302, 404, 404, 404, 302, 404, 404, 404),
    ("POST", "/profile/notifications"): (302,) * 8,
    ("POST", "/profile/mail"): (302,) * 8,
    ("POST", "/theme"): (302, 302, 302, 302, 302, 302, 302, 302),
}
_PAUSE = {"lasts": "1", "reason": "Maintenance"}
BODY = {
    "/sites/{hall}/pause": _PAUSE,
    "/jobs/manage/{job}/pause": _PAUSE,
    "/agents/{agent}/pause": _PAUSE,
    "/sites/{hall}/schedule": {
        "schedule-kind": "daily",
        "schedule-time": "02:00",
        "schedule-at_once": "2",
    },
    "/sites/credentials/{login}": {"target": "{press} -"},
    "/members/teams/{team}/members": {"member": "{member}"},
    "/members/teams/{team}/roles": {"place": "site:{hall}", "role": "viewer"},
    "/organization": {"organization": "{works}"},
    "/theme": {"theme": "dark"},
}


def ask(world: World, cookies: SimpleCookie, method: str, address: str) -> int:
    """Ask with the cookies of a log-in, and take back whatever came of it."""
    client = Client()
    client.cookies = copy(cookies)
    point = transaction.savepoint()
    try:
        path, body = address.format(**world.ids), world.fill(BODY.get(address, {}))
        answer = client.get(path) if method == "GET" else client.post(path, body)
        if answer.streaming:
            list(answer)  # a file that is sent is closed at its end
        return answer.status_code
    finally:
        transaction.savepoint_rollback(point)


# One for each way that the rules let people through: by role, and by grant.
ON_BOTH_DATABASES = ("alice", "manuel", "vera")


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(name, marks=() if name in ON_BOTH_DATABASES else pytest.mark.once)
        for name in PEOPLE
    ],
)
def test_each_page_answers_each_person_as_the_matrix_says(world: World, person: str) -> None:
    column = PEOPLE.index(person)
    expected = {route: answers[column] for route, answers in TABLE.items()}
    client = Client()
    if person != "nobody":
        client.force_login(world.cast[person])
    # Pages concern the current organization; the superuser has chosen this one.
    if person == "root":
        client.post("/organization", {"organization": world.ids["works"]})
    found = {route: ask(world, client.cookies, *route) for route in TABLE}
    assert found == expected


def test_no_page_is_missing_from_the_table() -> None:
    """A page without a row fails here: whoever adds one says who may see it."""
    there = {
        re.sub(r"<[^>]+>", "*", f"/{address}")
        for _, address in routes(without=("admin/", "api/", "accounts/"))
    }
    named = {re.sub(r"{[^}]+}", "*", address) for _, address in TABLE}
    assert there == named


@pytest.mark.once
@pytest.mark.parametrize("person", ["alice", "root", "vera", "manuel"])
def test_inputs_are_on_the_page_of_their_starter_alone(world: World, person: str) -> None:
    """S3-31: inputs are the starter's; administrators and superusers see none of them."""
    address = f"/jobs/{world.ids['converted']}"
    own, other = Client(), Client()
    own.force_login(world.cast["edda"])
    other.force_login(world.cast[person])
    assert b"text/csv" in own.get(address).content
    assert b"text/csv" not in other.get(address).content
