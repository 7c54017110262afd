"""The admin's lists and forms: whatever is typed, chosen or ticked is no error of ours."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.utils import timezone

from agents.models import AgentPool
from jobs.models import Job, JobRun
from sites.access.admin import Between
from sites.models import Event, Organization, Site, User
from tests.pages import admin_path, as_

pytestmark = pytest.mark.once

SPANS = [
    model
    for model, shown in admin.site._registry.items()
    if any(isinstance(one, tuple) and one[1] is Between for one in shown.list_filter)
]


# What is typed → what is said of it.
TYPED: list[tuple[dict[str, str], str]] = [
    ({"from_0": "0001-01-01", "from_1": "00:00:00"}, ""),
    ({"to_0": "9999-12-31", "to_1": "23:59:59"}, ""),
    ({"from_0": "2026-01-01"}, ""),
    ({"from_0": "0000-01-01", "from_1": "00:00"}, "“0000-01-01 00:00” is no time"),
    ({"to_0": "10000-01-01", "to_1": "00:00"}, "“10000-01-01 00:00” is no time"),
    ({"to_0": "2026-02-30", "to_1": "25:00"}, "“2026-02-30 25:00” is no time"),
    ({"to_1": "12:00"}, "“12:00” is no time"),
]


@pytest.mark.parametrize("model", SPANS, ids=lambda model: model._meta.model_name)
def test_a_list_is_narrowed_to_a_span_whatever_the_dates(root: User, model: Any) -> None:
    client, column = as_(root), span_of(model)
    for typed, said in TYPED:
        sent = {f"{column}_{name}": value for name, value in typed.items()}
        answer = client.get(admin_path(model, "changelist"), sent)
        assert answer.status_code == 200, typed
        text = answer.content.decode()
        assert ("is no time" in text) is bool(said), typed
        assert said in text


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Anchorage"])
def test_a_span_that_leaves_the_calendar_in_another_zone_is_no_error(root: User, zone: str) -> None:
    client, column = as_(root), span_of(Event)
    for typed, _ in TYPED:
        sent = {f"{column}_{name}": value for name, value in typed.items()}
        with timezone.override(zone):
            assert client.get(admin_path(Event, "changelist"), sent).status_code == 200, typed


def span_of(model: Any) -> str:
    """The column that a list is narrowed by to a span."""
    offered: Any = admin.site._registry[model].list_filter
    return str(next(one[0] for one in offered if one[1] is Between))


def test_a_span_takes_its_ends_with_it(root: User, works: Organization) -> None:
    made = Event.objects.create(kind="k", subject_id=uuid.uuid4(), organization_id=works.pk)
    path = admin_path(Event, "changelist")
    for day, seen in ((made.at.date(), True), (made.at.date() + timedelta(days=1), False)):
        found = as_(root).get(path, {"at_from_0": str(day)}).context["cl"].queryset
        assert (made in found) is seen
    for day, seen in ((made.at.date(), True), (made.at.date() - timedelta(days=1), False)):
        found = as_(root).get(path, {"at_to_0": str(day)}).context["cl"].queryset
        assert (made in found) is seen


ODD_KEYS = ("abc", "9" * 23, "9" * 5000, str(2**63), "-1", "٣", "%00")


EMPTY = [
    (model, one[0])
    for model, shown in admin.site._registry.items()
    for one in shown.list_filter
    if isinstance(one, tuple) and one[1] is admin.EmptyFieldListFilter
]


@pytest.mark.parametrize(("model", "column"), EMPTY, ids=lambda one: str(one).rpartition(".")[2])
def test_a_list_is_narrowed_by_what_is_empty(alice: User, model: Any, column: str) -> None:
    client = as_(alice)
    for empty in "01":
        sent = {f"{column}__isempty": empty}
        assert client.get(admin_path(model, "changelist"), sent).status_code == 200, empty


def test_numbers_and_instants_that_no_column_holds_are_no_filter(alice: User) -> None:
    client = as_(alice)
    for query in (
        *(f"organization__id__exact={key}" for key in ODD_KEYS),
        "created_at__gte=0001-01-01T00:00:00%2B14:00",
        "created_at__gte=9999-12-31T23:59:59-14:00",
    ):
        for model in (JobRun, Job, Site):
            answer = client.get(f"{admin_path(model, 'changelist')}?{query}")
            assert answer.status_code in (200, 302, 400), (model, query)


def test_what_is_chosen_and_is_no_row_is_an_error_of_the_field(alice: User) -> None:
    client = as_(alice)
    for model, field in ((Job, "target"), (AgentPool, "organization"), (AgentPool, "agents")):
        path = admin_path(model, "add")
        for key in ODD_KEYS:
            assert client.get(f"{path}?{field}={key}").status_code == 200, (field, key)
            assert client.post(path, {field: key, "name": "x"}).status_code == 200, (field, key)
    assert not Job.objects.exists()
    assert not AgentPool.objects.exists()


def test_what_is_ticked_and_is_no_row_is_said(alice: User) -> None:
    client, path = as_(alice), admin_path(Job, "changelist")
    for key in ODD_KEYS:
        sent = {"action": "archive_each", "index": "0", "_selected_action": key}
        answer = client.post(path, sent, follow=True)
        assert answer.status_code == 200
        assert "Tick rows of this list." in answer.content.decode(), key
