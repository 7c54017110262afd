"""Who hears of what: a table of people, levels and endings; and of what nobody hears."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db.models.functions import Now

from jobs import sweeps
from jobs.models import Job
from jobs.starts import start_function
from notifications import decisions, fanning
from notifications.models import Channel, Delivery, Notification, Subscription
from sites.access import set_role
from sites.events import record
from sites.members import remove_member
from sites.models import Event, Membership, Organization, Site, User
from tests import factories
from tests.factories import Enrolled
from tests.jobs.passing import lease_over
from tests.jobs.trying import begin, fail, given_up, tried_again
from tests.notifications.endings import ENDINGS, failed, scheduled

pytestmark = pytest.mark.django_db

PROBLEMS = {"failed", "timed_out", "missed", "partial"}
EVERYTHING = set(ENDINGS)
# What reaches whom of the runs that Edda started at the hall, by what they chose for it; Alice
# administers the organization, Vera views the hall, Manuel and Mia may see runs of their own alone.
DEFAULTS = {"alice": PROBLEMS, "edda": PROBLEMS, "vera": set()}
LEVELS: dict[str, set[str]] = {
    "nothing": set(),
    "problems": PROBLEMS,
    "changes": PROBLEMS | {"modified"},
    "everything": EVERYTHING,
}


def heard(events: list[Event]) -> dict[str, set[str]]:
    """Who would hear of which news of these Events."""
    found: dict[str, set[str]] = {}
    for one in decisions.decide(events):
        assert one.news not in found.setdefault(one.recipient.username, set())
        found[one.recipient.username].add(str(one.news))
    return found


def choose(cast: dict[str, User], site: Site, level: str | None) -> None:
    Subscription.objects.all().delete()
    if level:
        for one in cast.values():
            Subscription.objects.create(user=one, site=site, level=level)


def test_each_hears_of_what_they_chose_and_may_see(
    cast: dict[str, User], job: Job, agent: Enrolled, hall: Site, yard: Site, edda: User
) -> None:
    """S0-08, S0-09: of runs that a person or a schedule started, by site, to who may see them."""
    for ending in ENDINGS.values():
        ending(job, agent, edda)
    events = list(Event.objects.order_by("pk"))
    # Up to date was made of two, of which the first found something new.
    first = [e for e in events if e.kind == "run.completed"]
    skipped = {one.pk for one in first[2:3]}
    events = [one for one in events if one.pk not in skipped]
    by_default = {name: found for name, found in heard(events).items() if found}
    assert by_default == {name: news for name, news in DEFAULTS.items() if news}
    for level, news in LEVELS.items():
        choose(cast, hall, level)
        people = ("alice", "edda", "vera", "root") if news else ()
        assert heard(events) == dict.fromkeys(people, news), level
    choose(cast, yard, "everything")
    assert heard(events) == by_default, "a choice is for its own site"


def test_a_run_is_told_to_whom_it_belongs(
    job: Job, agent: Enrolled, edda: User, alice: User, manuel: User
) -> None:
    """S0-08: a scheduled run is its job's owner's, one on demand is whose who pressed."""
    run = scheduled(job, agent, edda)
    assert run.occurrence is not None
    assert heard(list(Event.objects.all())) == {"edda": {"failed"}, "alice": {"failed"}}
    Event.objects.all().delete()
    failed(job, agent, manuel)
    assert heard(list(Event.objects.all())) == {"manuel": {"failed"}, "alice": {"failed"}}


def test_only_the_last_try_is_told(stubborn: Job, agent: Enrolled, edda: User) -> None:
    run = failed(stubborn, agent, edda)
    assert fanning.fan_out() == 0
    tried_again(run)
    run = fail(agent)
    assert fanning.fan_out() == 0
    tried_again(run)
    run = fail(agent)
    assert fanning.fan_out() == 2
    told = set(Notification.objects.values_list("event__subject_id", "news"))
    assert told == {(run.public_id, "failed")}


def test_a_try_that_was_dropped_makes_the_one_before_it_the_last(
    stubborn: Job, agent: Enrolled, edda: User
) -> None:
    run = failed(stubborn, agent, edda)
    Job.objects.update(enabled=False)
    assert fanning.fan_out() == 0
    given_up(run)
    assert fanning.fan_out() == 2
    assert {one.event.kind for one in Notification.objects.select_related("event")} == {
        "run.given_up"
    }
    assert fanning.fan_out() == 0


def test_administrators_alone_hear_that_many_agents_are_silent(
    works: Organization, elsewhere: Organization, hall: Site, cast: dict[str, User]
) -> None:
    choose(cast, hall, "everything")
    for number in range(3):
        one = factories.enrolled(works, f"agent {number}", site=hall, by=cast["alice"])
        listing = one.agent.functions.get(function__name="list").function
        start_function(factories.target(hall, f"Line {number}"), listing, by=cast["alice"])
        lease_over(begin(one))
    assert sweeps.sweep() == 0
    assert heard(list(Event.objects.all())) == {"alice": {"silent"}}


def test_why_nothing_is_sent_is_on_record(
    works: Organization, job: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    gone = factories.member(works, "gita", "administrator")
    closed = factories.member(works, "carl", "administrator")
    User.objects.filter(pk=alice.pk).update(email="")
    User.objects.filter(pk=closed.pk).update(is_active=False)
    Channel.objects.create(user=edda, kind="email", address=edda.email, error="No such mailbox.")
    failed(job, agent, edda)
    remove_member(Membership.objects.get(user=gone))
    assert fanning.fan_out() == 2
    found = Notification.objects.values_list("recipient__username", "decision", "reason", "because")
    assert set(found) == {
        ("alice", "suppressed", "no_address", "administrator"),
        ("edda", "suppressed", "mail_off", "starter"),
    }
    assert not Delivery.objects.exists()
    # The channel was off for an address that nobody has any more.
    User.objects.filter(pk=edda.pk).update(email="new@example.com")
    failed(job, agent, edda)
    fanning.fan_out()
    assert Delivery.objects.get().notification.recipient == edda


def test_nothing_of_one_organization_reaches_another(
    elsewhere: Organization, job: Job, agent: Enrolled, hall: Site, edda: User, oscar: User
) -> None:
    """Oscar chose the foreign hall; Edda is a member of both, and hears of each what is there."""
    Membership.objects.create(user=edda, organization=elsewhere, role="administrator")
    Subscription.objects.create(user=oscar, site=hall, level="everything")
    quay = factories.site(elsewhere, "Quay")
    theirs = factories.enrolled(elsewhere, "quay-agent", site=quay, by=oscar)
    listing = theirs.agent.functions.get(function__name="list").function
    start_function(factories.target(quay, "Crane"), listing, by=oscar)
    theirs.api.finish(begin(theirs), "failed")
    failed(job, agent, edda)
    fanning.fan_out()
    found = Notification.objects.values_list("recipient__username", "organization__name")
    assert sorted(found) == [
        ("alice", "North Works"),
        ("edda", "Harbour Plant"),
        ("edda", "North Works"),
        ("oscar", "Harbour Plant"),
    ]


# --- how Events are taken -------------------------------------------------------------------------

# A look, BEGIN, mark, a savepoint; runs, choices, administrators, people, grants and memberships,
# who may see what, channels; notifications, deliveries; and the end of both.
AT_WORK = 16


@pytest.mark.parametrize("number", [1, 3])
def test_a_batch_takes_as_many_queries_however_long_it_is(
    number: int, job: Job, agent: Enrolled, edda: User, django_assert_num_queries: Any
) -> None:
    Event.objects.update(fanned_out_at=Now())
    with django_assert_num_queries(1):
        assert fanning.fan_out() == 0
    for _ in range(number):
        failed(job, agent, edda)
    with django_assert_num_queries(AT_WORK):
        assert fanning.fan_out() == 2 * number
    assert not Event.objects.filter(fanned_out_at=None).exists()
    assert Delivery.objects.count() == 2 * number


def test_an_event_that_cannot_be_decided_holds_up_no_other(
    works: Organization, job: Job, agent: Enrolled, edda: User, caplog: Any
) -> None:
    record("job.missed", job.public_id, organization=works, data={"planned_at": "soon"})
    failed(job, agent, edda)
    assert fanning.fan_out() == 2
    assert caplog.text.count("it cannot be decided") == 1
    assert not Event.objects.filter(fanned_out_at=None).exists()


def test_history_is_taken_as_told(
    job: Job, agent: Enrolled, edda: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration marks what there is, in pieces; what comes after it is told."""
    history = import_module("notifications.migrations.0002_history")
    monkeypatch.setattr(history, "BATCH", 2)
    history.take_as_told(apps, None)
    failed(job, agent, edda)
    assert Event.objects.filter(fanned_out_at=None).count() > 3
    history.take_as_told(apps, None)
    assert fanning.fan_out() == 0
    failed(job, agent, edda)
    assert fanning.fan_out() == 2


def test_a_role_that_was_taken_ends_what_one_hears(
    job: Job, agent: Enrolled, edda: User, vera: User, hall: Site
) -> None:
    Subscription.objects.create(user=vera, site=hall, level="problems")
    failed(job, agent, edda)
    assert fanning.fan_out() == 3
    set_role(vera, None, on=hall)
    failed(job, agent, edda)
    assert fanning.fan_out() == 2
