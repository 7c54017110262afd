"""What people were told, and what they want to hear of, over REST: each person's own."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Job
from notifications import delivering, fanning
from notifications.models import Subscription
from sites import access_tokens
from sites.access import set_role
from sites.models import Site, User
from tests import factories
from tests.factories import Enrolled
from tests.notifications.endings import ENDINGS, failed
from tests.people import API

pytestmark = pytest.mark.django_db


def test_what_one_was_told_is_listed_narrowed_and_read(
    job: Job, agent: Enrolled, edda: User, alice: User, hall: Site, yard: Site
) -> None:
    run = failed(job, agent, edda)
    ENDINGS["missed"](job, agent, edda)
    fanning.fan_out()
    delivering.deliver()
    api = API(edda)
    missed, ended = api.get("notifications").json()["results"]
    assert (missed["news"], missed["run"], missed["job"]) == ("missed", None, str(job.public_id))
    assert (ended["news"], ended["run"], ended["job"]) == ("failed", str(run.public_id), None)
    assert ended["name"] == "Press line 1 backup"
    assert ended["site"] == {"id": str(hall.public_id), "name": "Press hall"}
    assert (ended["because"], ended["decision"], ended["reason"]) == ("starter", "sent", "")
    assert (ended["email"]["state"], ended["email"]["next_at"]) == ("sent", None)
    assert ended["read_at"] is None
    for query, number in (
        ({"news": "failed"}, 1),
        ({"site": str(hall.public_id)}, 2),
        ({"unread": "false"}, 0),
        ({"unread": "true"}, 2),
        ({"after": "2100-01-01T00:00:00Z"}, 0),
    ):
        assert len(api.get("notifications", **query).json()["results"]) == number, query
    assert api.get("notifications", site=str(yard.public_id)).status_code == 422
    read = api.post(f"notifications/{ended['id']}/read").json()
    assert read["read_at"] is not None
    again = api.post(f"notifications/{ended['id']}/read").json()
    assert again["read_at"] == read["read_at"]
    assert api.post("notifications/read").json() == {"read": 1}
    assert api.post("notifications/read").json() == {"read": 0}
    # Alice's are her own, though she administers the organization.
    hers = API(alice).get("notifications").json()["results"]
    assert {one["because"] for one in hers} == {"administrator"}
    assert {one["read_at"] for one in hers} == {None}
    assert API(alice).get(f"notifications/{ended['id']}").status_code == 404


def test_what_one_may_not_see_any_more_is_not_there(
    job: Job, agent: Enrolled, edda: User, vera: User, hall: Site
) -> None:
    Subscription.objects.create(user=vera, site=hall, level="problems")
    failed(job, agent, edda)
    fanning.fan_out()
    api = API(vera)
    [one] = api.get("notifications").json()["results"]
    set_role(vera, None, on=hall)
    assert api.get("notifications").json()["results"] == []
    assert api.get(f"notifications/{one['id']}").status_code == 404
    assert api.post("notifications/read").json() == {"read": 0}


def test_levels_are_chosen_site_by_site(edda: User, hall: Site, yard: Site) -> None:
    """S0-09, S0-10: a person's own, of the sites that they see."""
    api = API(edda)
    [mine] = api.get("subscriptions").json()["results"]
    assert (mine["id"], mine["level"]) == (str(hall.public_id), None)
    path = f"subscriptions/{hall.public_id}"
    assert api.put(path, {"level": "changes"}).json()["level"] == "changes"
    assert api.put(path, {"level": "everything"}).json()["level"] == "everything"
    assert api.get(path).json()["level"] == "everything"
    for body in ({"level": "loud"}, {}, {"level": "nothing", "user": "alice"}):
        assert api.put(path, body).status_code == 422, body
    assert api.get("subscriptions", search="press").json()["results"] == [api.get(path).json()]
    assert api.get("subscriptions", search="yard").json()["results"] == []
    assert api.put(path, {"level": None}).json()["level"] is None
    assert not Subscription.objects.exists()
    assert api.put(f"subscriptions/{yard.public_id}", {"level": "nothing"}).status_code == 404
    _, token = access_tokens.issue(edda, name="report", scope="read")
    assert API(token=token).put(path, {"level": "nothing"}).status_code == 403


@pytest.mark.parametrize(("path", "queries"), [("notifications", 6), ("subscriptions", 6)])
def test_the_lists_ask_as_much_for_one_as_for_three(
    path: str, queries: int, job: Job, agent: Enrolled, alice: User, edda: User, yard: Site,
    django_assert_num_queries: Any,
) -> None:  # fmt: skip
    api = API(alice)
    for number in (1, 2):
        failed(job, agent, edda)
        factories.site(job.organization, f"Hall {number}")
        fanning.fan_out()
        with django_assert_num_queries(queries):
            assert len(api.get(path).json()["results"]) >= number
