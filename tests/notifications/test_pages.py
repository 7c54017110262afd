"""What people were told as they read it: the bell, the list, and their choices in the profile."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.models import Job, JobRun
from notifications import delivering, fanning
from notifications.models import Channel, Delivery, Notification, Subscription
from sites.access import set_role
from sites.events import record
from sites.models import Membership, Organization, Site, User
from tests import factories
from tests.factories import Enrolled
from tests.notifications.endings import ENDINGS, failed
from tests.pages import as_, html, rows, words

pytestmark = pytest.mark.django_db

LIST = "/notifications"


def bell(user: User) -> str:
    """What the bell says to who does not see it."""
    answer = as_(user).get(f"{LIST}?bell=home", headers={"HX-Request": "true"})
    found = re.search(r'aria-label="([^"]*)"', answer.content.decode())
    assert found
    return found[1]


@pytest.fixture
def told(job: Job, agent: Enrolled, edda: User, alice: User) -> None:
    """A failure, a time-out and a missed start of Edda's, of which Alice hears too."""
    for ending in ("failed", "timed_out", "missed"):
        ENDINGS[ending](job, agent, edda)
    fanning.fan_out()


@pytest.mark.usefixtures("told")
def test_the_list_says_what_happened_why_one_hears_of_it_and_how_the_mail_stands(
    edda: User, alice: User, vera: User
) -> None:
    User.objects.filter(pk=alice.pk).update(email="")
    delivering.deliver()
    mine = rows(html(edda, LIST))
    assert [one["What happened"] for one in mine] == ["Missed", "Timed Out", "Failed"]
    assert {one["Why you"] for one in mine} == {"Your run"}
    assert {one["Mail"] for one in mine} == {"Mailed"}
    assert mine[2]["To what"] == "Unread: Press line 1 backup Press line 1, Press hall · No."
    hers = rows(html(alice, LIST))
    assert {one["Why you"] for one in hers} == {"You administer it"}
    assert {one["Mail"] for one in hers} == {"Not mailed: No mail address"}
    assert "Nothing to tell you yet" in html(vera, LIST)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "Being mailed"),
        ({"error": "Away.", "attempts": 2}, "Not taken yet, is tried again"),
        ({"error": "Away.", "attempts": 7, "next_at": None}, "Not taken"),
    ],
)
@pytest.mark.usefixtures("told")
@pytest.mark.once
def test_the_list_says_how_a_mail_stands_that_was_not_taken(
    columns: dict[str, Any], said: str, edda: User
) -> None:
    Delivery.objects.update(**columns)
    assert {one["Mail"] for one in rows(html(edda, LIST))} == {said}


@pytest.mark.usefixtures("told")
def test_what_is_read_is_counted_no_more(edda: User, alice: User, oscar: User) -> None:
    assert bell(edda) == "Notifications, 3 unread"
    page = html(edda, LIST)
    one = Notification.objects.filter(recipient=edda).latest("pk")
    address = reverse("notification-read", args=[one.public_id])
    assert address in page
    answer = as_(edda).post(address, {"next": f"{LIST}?show=unread"})
    assert answer.headers["Location"] == f"{LIST}?show=unread"
    assert bell(edda) == "Notifications, 2 unread"
    assert len(rows(html(edda, f"{LIST}?show=unread"))) == 2
    assert len(rows(html(edda, LIST))) == 3
    assert as_(alice).post(address).status_code == 404
    assert as_(oscar).post(address).status_code == 404
    as_(edda).post("/notifications/read")
    assert bell(edda) == "Notifications"
    assert "Nothing unread" in html(edda, f"{LIST}?show=unread")
    assert bell(alice) == "Notifications, 3 unread"


@pytest.mark.once
def test_the_bell_counts_up_to_99(edda: User, works: Organization, job: Job) -> None:
    for _ in range(101):
        event = record("run.failed", job.public_id, organization=works, starter=edda)
        Notification.objects.create(
            event=event,
            recipient=edda,
            organization=works,
            started_by=edda,
            news="failed",
            because="starter",
            decision="suppressed",
            reason="no_address",
        )
    assert bell(edda) == "Notifications, more than 99 unread"
    page = html(edda, LIST)
    assert len(rows(page)) == 50
    older = re.search(r'href="([^"]*cursor=[^"]*)">Older', page)
    assert older
    second = html(edda, LIST + older[1].replace("&amp;", "&"))
    assert len(rows(second)) == 50
    assert len({*re.findall(r"/notifications/([\w-]{36})/read", page + second)}) == 100


def test_what_one_may_not_see_any_more_is_not_listed(
    job: Job, agent: Enrolled, edda: User, vera: User, hall: Site
) -> None:
    Subscription.objects.create(user=vera, site=hall, level="problems")
    failed(job, agent, edda)
    fanning.fan_out()
    assert bell(vera) == "Notifications, 1 unread"
    set_role(vera, None, on=hall)
    assert bell(vera) == "Notifications"
    assert "Nothing to tell you yet" in html(vera, LIST)


def test_the_page_concerns_the_current_organization(
    elsewhere: Organization, job: Job, agent: Enrolled, edda: User
) -> None:
    """A person in several hears of each, and reads of one at a time."""
    failed(job, agent, edda)
    fanning.fan_out()
    Membership.objects.create(user=edda, organization=elsewhere, role="member")
    browser = as_(edda)
    browser.post("/organization", {"organization": str(elsewhere.public_id)})
    assert "Nothing to tell you yet" in browser.get(LIST).content.decode()
    browser.post("/notifications/read")
    assert Notification.objects.filter(recipient=edda, read_at=None).count() == 1


@pytest.mark.once
@pytest.mark.usefixtures("told")
def test_a_run_that_was_pruned_is_told_of_without_a_link(edda: User) -> None:
    run = JobRun.objects.get(status="failed")
    assert f'href="/jobs/{run.public_id}"' in html(edda, LIST)
    run.transitions.all().delete()
    run.delete()
    assert f"/jobs/{run.public_id}" not in html(edda, LIST)
    assert len(rows(html(edda, LIST))) == 3


@pytest.mark.parametrize("number", [1, 3])
def test_the_pages_ask_as_much_for_one_as_for_three(
    number: int, job: Job, agent: Enrolled, edda: User, alice: User
) -> None:
    """The list, the profile, and the bell that every page fetches."""
    for each in range(number):
        failed(job, agent, edda)
        factories.site(job.organization, f"Hall {each}")
    fanning.fan_out()
    counted = []
    for user in (alice, edda):
        browser = as_(user)
        browser.get(LIST)
        for path in (LIST, "/profile", f"{LIST}?bell=home"):
            with CaptureQueriesContext(connection) as asked:
                assert browser.get(path).status_code == 200
            counted.append(len(asked))
    assert counted == [10, 11, 6, 10, 11, 6]


# --- what one hears of ----------------------------------------------------------------------------


def test_each_chooses_for_the_sites_that_they_see(
    job: Job, hall: Site, yard: Site, edda: User, alice: User, mia: User
) -> None:
    """S0-09, S0-10: in the profile, one row for each site, and nothing on the job."""
    page = html(alice, "/profile")
    assert words(page).count("Default: problems") == 2
    page = html(edda, "/profile")
    assert "Default: problems of your runs" in page
    assert f"level-{hall.public_id}" in page
    assert f"level-{yard.public_id}" not in page
    assert "You see no site yet." in html(mia, "/profile")
    browser = as_(edda)
    chosen = {f"level-{hall.public_id}": "changes", f"level-{yard.public_id}": "everything"}
    answer = browser.post("/profile/notifications", chosen)
    assert answer.headers["Location"] == "/profile#notifications"
    assert list(Subscription.objects.values_list("user", "site", "level")) == [
        (edda.pk, hall.pk, "changes")
    ], "not for a site that one does not see"
    assert '<option value="changes" selected>' in html(edda, "/profile")
    browser.post("/profile/notifications", {f"level-{hall.public_id}": "loud", "level-x": "y"})
    assert Subscription.objects.get().level == "changes"
    assert "“loud” is none of" in browser.get("/profile").content.decode()
    browser.post("/profile/notifications", {f"level-{hall.public_id}": ""})
    assert not Subscription.objects.exists()


@pytest.mark.once
def test_a_person_in_two_organizations_chooses_for_both(
    elsewhere: Organization, hall: Site, edda: User
) -> None:
    quay = factories.site(elsewhere, "Quay")
    Membership.objects.create(user=edda, organization=elsewhere, role="administrator")
    page = words(html(edda, "/profile"))
    assert "Quay Harbour Plant Default: problems Nothing" in page
    assert "Press hall North Works Default: problems of your runs Nothing" in page
    chosen = {f"level-{one.public_id}": "nothing" for one in (quay, hall)}
    as_(edda).post("/profile/notifications", chosen)
    assert Subscription.objects.filter(user=edda, level="nothing").count() == 2


@pytest.mark.once
def test_mail_that_is_off_is_told_and_turned_on_again(edda: User) -> None:
    Channel.objects.create(
        user=edda, kind="email", address=edda.email, error="No such mailbox.", disabled_at=Now()
    )
    for path in (LIST, "/profile"):
        page = words(html(edda, path))
        assert "Your mail is off since" in page
        assert "refused edda@example.com seven times (No such mailbox.)." in page
    browser = as_(edda)
    answer = browser.post("/profile/mail", {"next": "/profile"})
    assert answer.headers["Location"] == "/profile"
    assert "Your mail is off" not in browser.get("/profile").content.decode()


@pytest.mark.once
def test_many_sites_are_chosen_page_by_page(
    works: Organization, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.templatetags.notifications.ON_PAGE", 2)
    for number in range(3):
        factories.site(works, f"Hall {number}")
    first, second = html(alice, "/profile"), html(alice, "/profile?sites=1")
    assert [name in first for name in ("Hall 0", "Hall 1", "Hall 2")] == [True, True, False]
    assert [name in second for name in ("Hall 0", "Hall 1", "Hall 2")] == [False, False, True]
    assert ("?sites=1#" in first, "?sites=0#" in second, "?sites=2#" in second) == (
        True,
        True,
        False,
    )
    assert "Hall 0" in html(alice, "/profile?sites=x")


@pytest.mark.once
def test_an_account_without_an_address_is_told_so(mia: User) -> None:
    User.objects.filter(pk=mia.pk).update(email="")
    assert "Your account has no mail address" in html(mia, "/profile")
