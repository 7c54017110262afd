"""The admin of notifications: to be read, by who administers the organization that they are of."""

from __future__ import annotations

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from jobs.models import Job
from notifications import fanning
from notifications.models import Channel, Delivery, Notification, Subscription
from sites.models import Site, User
from tests.factories import Enrolled
from tests.notifications.endings import failed
from tests.pages import admin_path, as_

pytestmark = [pytest.mark.django_db, pytest.mark.once]

MODELS: list[type[models.Model]] = [Notification, Delivery, Subscription, Channel]


@pytest.fixture
def told(job: Job, agent: Enrolled, edda: User, alice: User, hall: Site) -> None:
    """Edda chose, was told once, and has a mailbox that is gone."""
    Subscription.objects.create(user=edda, site=hall, level="problems")
    failed(job, agent, edda)
    fanning.fan_out()
    Channel.objects.create(user=edda, kind="email", address=edda.email, error="No such mailbox.")


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_administrators_read_what_their_people_were_told_and_change_nothing(
    model: type[models.Model], alice: User, oscar: User, root: User
) -> None:
    row = model._default_manager.order_by("pk").last()
    assert row is not None
    page, listed = admin_path(row, "change", row.pk), admin_path(model, "changelist")
    for person, seen in ((alice, True), (root, True), (oscar, False)):
        browser = as_(person)
        assert (f'href="{page}' in browser.get(listed).content.decode()) is seen
        assert browser.get(page).status_code == (200 if seen else 404)
        for name in ("delete", "change"):
            path = admin_path(row, name, row.pk)
            assert browser.post(path, {"post": "yes"}).status_code in (302, 403, 404)
        assert browser.get(admin_path(model, "add")).status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_list_asks_as_much_for_many(
    model: type[models.Model], alice: User, job: Job, agent: Enrolled, edda: User, mia: User,
    yard: Site,
) -> None:  # fmt: skip
    browser = as_(alice)
    browser.get(admin_path(model, "changelist"))
    counted = []
    for person in (mia, edda):
        with CaptureQueriesContext(connection) as asked:
            assert browser.get(admin_path(model, "changelist")).status_code == 200
        counted.append(len(asked))
        failed(job, agent, edda)
        fanning.fan_out()
        Subscription.objects.create(user=person, site=yard, level="nothing")
        Channel.objects.get_or_create(
            user=person, kind="email", defaults={"address": person.email, "error": "Gone."}
        )
    assert counted[0] == counted[1]
