"""The admin at its doors: who is let in, which rows there are, what may be changed."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sites.access import set_role
from sites.members import remove_member
from sites.models import (
    Event,
    Membership,
    Organization,
    Site,
    SiteUserPermission,
    Target,
    User,
)
from tests import factories
from tests.pages import admin_path as page
from tests.pages import as_

pytestmark = pytest.mark.once

OURS = ("sites", "agents", "jobs", "notifications")
# Models without a page of their own, and why.
PAGELESS = {
    "sites.SiteUserPermission": "on the page People and roles",
    "sites.SiteGroupPermission": "on the page People and roles",
    "sites.TargetUserPermission": "on the page People and roles",
    "sites.TargetGroupPermission": "on the page People and roles",
    "agents.PoolUserPermission": "on the page People and roles",
    "agents.PoolGroupPermission": "on the page People and roles",
    "sites.InvitedRole": "on the page of its invitation",
    "sites.StorageUse": "on the organization's page",
    "sites.StoredFile": "counts; the files are on their runs' pages",
    "jobs.Pruned": "on the page of its run",
    "sites.Pulse": "on the page Health",
    "sites.IdempotencyKey": "holds answers that were given to one person",
    "agents.AgentPresence": "on the agent's page",
    "agents.EnrolmentCode": "on the agent's page",
    "agents.WrongCodes": "counts for a minute",
    "jobs.RunInput": "for the starter alone",
}
REGISTERED = [model for model in admin.site._registry if model._meta.app_label in OURS]
PAGES = [model._meta.label for model in admin.site._registry]


def test_every_model_has_a_page_or_a_reason() -> None:
    known = {model._meta.label for model in admin.site._registry}
    ours = {
        model._meta.label for label in OURS for model in apps.get_app_config(label).get_models()
    }
    assert ours - known == set(PAGELESS)


def test_the_role_alone_opens_the_admin(cast: dict[str, User]) -> None:
    User.objects.filter(username="mia").update(is_staff=True)  # opens nothing
    clients = {name: as_(User.objects.get(pk=user.pk)) for name, user in cast.items()}
    for label in PAGES:
        url = page(apps.get_model(label), "changelist")
        login = f"{reverse('admin:login')}?next={url}"
        assert Client().get(url).url == login  # type: ignore[attr-defined]
        for name in ("manuel", "edda", "vera", "mia"):
            answer = clients[name].get(url)
            assert (answer.status_code, answer.url) == (302, login), (name, label)  # type: ignore[attr-defined]
        assert clients["root"].get(url).status_code == 200, label
        expected = 403 if label == "auth.Group" else 200
        assert clients["alice"].get(url).status_code == expected, label


def test_anonymous_is_sent_to_the_portals_log_in_and_others_read_why_not(
    alice: User, mia: User
) -> None:
    answer = as_(alice).get(reverse("admin:login"))
    assert answer.url == reverse("admin:index")  # type: ignore[attr-defined]
    answer = Client().get(reverse("admin:login"))
    assert answer.url.startswith(reverse("account_login"))  # type: ignore[attr-defined]
    assert as_(mia).get(reverse("admin:login")).status_code == 403


def test_a_former_administrator_is_out_at_once(alice: User, works: Organization) -> None:
    factories.member(works, "adam", "administrator")
    client = as_(alice)
    assert client.get("/admin/").status_code == 200
    remove_member(Membership.objects.get(user=alice))
    assert client.get("/admin/").status_code == 302


def test_alpine_may_make_functions_under_admin_alone(alice: User) -> None:
    client = as_(alice)
    assert "'unsafe-eval'" in client.get("/admin/").headers["Content-Security-Policy"]
    assert "unsafe" not in Client().get(reverse("account_login")).headers["Content-Security-Policy"]


# --- rows ----------------------------------------------------------------------------------------
@pytest.fixture
def harbour(elsewhere: Organization, oscar: User) -> dict[str, models.Model]:
    """What Oscar's organization has, by model."""
    site = factories.site(elsewhere, "Foreign quay")
    target = factories.target(
        site, "Foreign crane", settings={"user": "crane", "password": "hunter2"}
    )
    enrolled = factories.enrolled(elsewhere, "foreign-agent", site=site, by=oscar)
    function = enrolled.agent.functions.get(function__name="backup").function
    job = factories.job(target, function, owner=oscar, name="Foreign backup")
    run = factories.run(job, by=oscar)
    enrolled.api.claim()
    run.refresh_from_db()
    found: list[models.Model] = [elsewhere, site, target, enrolled.agent, function, job, run]
    found += [
        Membership.objects.get(user=oscar),
        oscar,
        function.tool,
        run.transitions.get(sequence=1),
    ]
    found += [function.versions.get(), run.queue, run.claim]
    found.append(Event.objects.filter(organization_id=elsewhere.pk).latest("id"))
    return {row._meta.label: row for row in found}


FOREIGN = (
    "Harbour Plant", "Foreign quay", "Foreign crane", "foreign-agent", "Foreign backup",
    "oscar@example.com",
)  # fmt: skip


def test_an_administrator_finds_nothing_of_another_organization(
    alice: User, oscar: User, harbour: dict[str, models.Model]
) -> None:
    """Not by its address either; what lists say is looked at below."""
    hers, his = as_(alice), as_(oscar)
    for label, row in harbour.items():
        for name in ("change", "delete", "history"):
            url = page(row, name, row.pk)
            assert hers.get(url).status_code in (403, 404), (label, name)
            assert hers.post(url, {"post": "yes"}).status_code in (403, 404), (label, name)
        assert his.get(page(row, "change", row.pk)).status_code == 200, label
        missing = hers.get(page(row, "change", 10**9))
        same = hers.get(page(row, "change", row.pk))
        assert missing.status_code == same.status_code == 404, label
        assert type(row)._default_manager.filter(pk=row.pk).exists(), label


def test_a_grant_elsewhere_shows_nothing_in_the_admin(
    alice: User, elsewhere: Organization, harbour: dict[str, models.Model]
) -> None:
    Membership.objects.create(organization=elsewhere, user=alice, role="manager")
    set_role(alice, "owner", on=harbour["sites.Site"])
    client = as_(alice)
    for row in harbour.values():
        assert client.get(page(row, "change", row.pk)).status_code == 404 or isinstance(row, User)


@pytest.mark.parametrize(
    ("source", "field", "own", "foreign"),
    [
        ("jobs.Job", "target", "Press line 1", "Foreign crane"),
        ("jobs.Job", "agent", "hall-agent", "foreign-agent"),
        ("sites.Target", "site", "Press hall", "Foreign quay"),
        ("sites.Membership", "organization", "North Works", "Harbour Plant"),
        ("sites.Membership", "user", "Alice", "Oscar"),
    ],
)
def test_autocomplete_offers_ones_own(
    source: str, field: str, own: str, foreign: str,
    alice: User, mia: User, job: Any, harbour: Any,
) -> None:  # fmt: skip
    app, model = source.lower().split(".")
    query = {"app_label": app, "model_name": model, "field_name": field}
    url = reverse("admin:autocomplete")
    for term in ("", foreign, "\x00", "%", "'"):
        answer = as_(alice).get(url, query | {"term": term})
        assert answer.status_code == 200
        texts = [row["text"] for row in answer.json()["results"]]
        assert foreign not in texts
        assert term or own in texts
    assert as_(mia).get(url, query).status_code == 302


def test_every_choice_is_searched_for_and_takes_what_its_form_takes(
    alice: User, agent: Any, hall: Site, yard: Site, press: Target
) -> None:
    """No field lists its choices; what was put away, or kept for others, is not on offer."""
    client = as_(alice)
    for model in REGISTERED:
        model_admin = admin.site.get_model_admin(model)
        if model_admin.has_add_permission(_request(alice)):
            text = client.get(page(model, "add")).content.decode()
            plain = set(re.findall(r'<select name="(\w+)"(?![^>]*autocomplete)', text))
            relations = {field.name for field in model._meta.get_fields() if field.is_relation}
            assert plain & relations == set(), model
    pool = hall.organization.pools.create(name="Vault", restricted=True)
    pool.agents.add(agent.agent)
    Site.objects.filter(pk=yard.pk).update(archived_at=timezone.now())
    url = reverse("admin:autocomplete")
    for source, field, expected in (
        ("jobs.job", "agent", []),
        ("agents.agentpool", "agents", ["hall-agent"]),
        ("sites.target", "site", ["Press hall"]),
    ):
        app, name = source.split(".")
        query = {"app_label": app, "model_name": name, "field_name": field}
        found = client.get(url, query).json()["results"]
        assert [row["text"] for row in found] == expected, source


def test_inputs_cannot_be_reached_by_autocomplete(root: User) -> None:
    query = {"app_label": "jobs", "model_name": "jobrun", "field_name": "inputs"}
    assert as_(root).get(reverse("admin:autocomplete"), query).status_code == 403


def test_choices_and_filters_name_ones_own(alice: User, job: Any, harbour: Any) -> None:
    client = as_(alice)
    for model in REGISTERED:
        urls = [page(model, "changelist")]
        if admin.site.get_model_admin(model).has_add_permission(_request(alice)):
            urls.append(page(model, "add"))
        for url in urls:
            text = client.get(url).content.decode()
            assert not [word for word in (*FOREIGN, "Oscar") if word in text], url
    assert "Press hall" in client.get(page(Target, "changelist")).content.decode()


def test_a_foreign_choice_is_refused(alice: User, harbour: Any, hall: Site) -> None:
    data = {"site": harbour["sites.Site"].pk, "name": "Spy", "kind": "device", "settings": "{}"}
    answer = as_(alice).post(page(Target, "add"), data)
    assert answer.status_code == 200
    assert not Target.objects.filter(name="Spy").exists()
    assert as_(alice).post(page(Target, "add"), data | {"site": hall.pk}).status_code == 302
    made = Target.objects.get(name="Spy")
    assert (made.organization, made.created_by) == (hall.organization, alice)


@pytest.mark.parametrize(
    ("label", "query"),
    [
        ("jobs.JobRun", "parameters__password__startswith=a"),
        ("jobs.JobRun", "inputs__name__startswith=a"),
        ("agents.Agent", "token_hash__startswith=a"),
        ("sites.Target", "settings__password=hunter2"),
        ("sites.Target", "site__organization__name__startswith=H"),
        ("sites.User", "password__startswith=a"),
        ("sites.Membership", "user__password__startswith=a"),
    ],
)
def test_hidden_columns_cannot_be_guessed_through_the_address(
    label: str, query: str, alice: User, root: User
) -> None:
    for user in (alice, root):
        assert (
            as_(user).get(f"{page(apps.get_model(label), 'changelist')}?{query}").status_code == 400
        )


@pytest.mark.parametrize(
    "query", ["q=%00", "q='%25", "p=999999", "o=99", "e=1", "nonsense=1", "site__id__exact=x"]
)
def test_odd_addresses_are_no_errors(query: str, alice: User) -> None:
    client = as_(alice)
    for label in ("jobs.JobRun", "sites.Target", "sites.User"):
        answer = client.get(f"{page(apps.get_model(label), 'changelist')}?{query}")
        assert answer.status_code in (200, 302, 400, 404), label


# --- people --------------------------------------------------------------------------------------
def test_the_last_administrator_stays(alice: User, works: Organization) -> None:
    client, own = as_(alice), Membership.objects.get(user=alice)
    for url, data in (
        (page(own, "change", own.pk), {"role": "member"}),
        (page(own, "delete", own.pk), {"post": "yes"}),
    ):
        answer = client.post(url, data, follow=True)
        assert "last administrator" in answer.content.decode()
        own.refresh_from_db()
        assert own.role == "administrator"
    factories.member(works, "adam", "administrator")
    assert client.post(page(own, "change", own.pk), {"role": "member"}).status_code == 302
    own.refresh_from_db()
    assert own.role == "member"


def test_an_administrator_who_cannot_log_in_does_not_count(
    alice: User, works: Organization
) -> None:
    adam = factories.member(works, "adam", "administrator")
    User.objects.filter(pk=adam.pk).update(is_active=False)
    own = Membership.objects.get(user=alice)
    as_(alice).post(page(own, "delete", own.pk), {"post": "yes"})
    assert Membership.objects.filter(pk=own.pk).exists()


def test_who_leaves_loses_the_object_roles_and_the_live_connection(
    alice: User, vera: User, works: Organization
) -> None:
    row = Membership.objects.get(user=vera)
    assert as_(alice).post(page(row, "delete", row.pk), {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(user=vera).exists()
    assert not SiteUserPermission.objects.filter(user=vera).exists()
    assert Event.objects.latest("id").kind == "access.changed"
    assert Event.objects.latest("id").subject_id == vera.public_id


def test_accounts_are_the_superusers(alice: User, root: User, mia: User) -> None:
    url = page(mia, "change", mia.pk)
    text = as_(alice).get(url).content.decode()
    assert "mia@example.com" in text
    assert 'name="is_superuser"' not in text
    data = {"username": "mia", "is_active": "on", "is_superuser": "on"}
    assert as_(alice).post(url, data).status_code == 403
    assert as_(alice).get(page(User, "add")).status_code == 403
    assert (
        as_(alice).get(reverse("admin:auth_user_password_change", args=[mia.pk])).status_code == 403
    )
    mia.refresh_from_db()
    assert not mia.is_superuser
    assert as_(root).get(url).status_code == 200
    assert as_(root).get(page(User, "add")).status_code == 200
    data = {"username": "mia", "email": "mia@example.com"}
    told = Event.objects.filter(kind="access.changed", subject_id=mia.public_id)
    before = told.count()
    assert as_(root).post(url, data).status_code == 302
    mia.refresh_from_db()
    assert not mia.is_active
    assert told.count() == before + 1
    noted = apps.get_model("auditlog.LogEntry").objects.filter(
        content_type__model="user", object_pk=mia.pk
    )
    changes = {field: tuple(said) for entry in noted for field, said in entry.changes.items()}
    assert changes["is_active"] == ("yes", "no")
    assert changes["first_name"] == ("Mia", "–")
    assert {entry.actor for entry in noted} == {root}
    new = {"username": "nils", "password1": "a long way home 7", "password2": "a long way home 7"}
    assert as_(root).post(page(User, "add"), new).status_code == 302
    assert apps.get_model("auditlog.LogEntry").objects.filter(object_repr="nils").exists()


def test_roles_are_given_on_one_page(alice: User, mia: User, hall: Site, oscar: User) -> None:
    client, url = as_(alice), reverse("admin:sites_site_people_and_roles", args=[hall.pk])
    assert "Mia" in client.get(url).content.decode()
    assert client.post(url, {"user": mia.pk, "role": "editor"}).status_code == 302
    assert "Editor" in client.get(url).content.decode()
    assert set(
        SiteUserPermission.objects.filter(user=mia).values_list("permission__codename", flat=True)
    ) == {"view_site", "operate_site"}
    client.post(url, {"user": mia.pk, "role": ""})
    assert not SiteUserPermission.objects.filter(user=mia).exists()
    assert client.post(url, {"user": oscar.pk, "role": "viewer"}).status_code == 200
    group = Group.objects.create(name="Night shift")
    assert client.post(url, {"group": group.pk, "role": "viewer"}).status_code == 200
    assert not SiteUserPermission.objects.filter(user=oscar).exists()
    assert as_(oscar).get(url).status_code == 404
    assert as_(oscar).post(url, {"user": mia.pk, "role": "owner"}).status_code == 404


def test_a_group_is_given_a_role_by_superusers(root: User, alice: User, hall: Site) -> None:
    group = Group.objects.create(name="Night shift")
    url = reverse("admin:sites_site_people_and_roles", args=[hall.pk])
    assert as_(root).post(url, {"group": group.pk, "role": "viewer"}).status_code == 302
    assert "Night shift" in as_(alice).get(url).content.decode()
    assert as_(alice).post(url, {"group": group.pk, "role": ""}).status_code == 302
    assert "Nobody has a role" in as_(alice).get(url).content.decode()


# --- places --------------------------------------------------------------------------------------
def test_a_sites_time_zone_is_fixed_at_creation(alice: User, works: Organization) -> None:
    client = as_(alice)
    data = {"organization": works.pk, "name": "Mill", "time_zone": "Mars/Olympus"}
    assert client.post(page(Site, "add"), data).status_code == 200
    assert client.post(page(Site, "add"), data | {"time_zone": "Asia/Tokyo"}).status_code == 302
    mill = Site.objects.get(name="Mill")
    client.post(page(mill, "change", mill.pk), {"name": "Old mill", "time_zone": "UTC"})
    mill.refresh_from_db()
    assert (mill.name, mill.time_zone) == ("Old mill", "Asia/Tokyo")


def test_a_name_that_is_taken_is_said_in_the_form(
    alice: User, hall: Site, yard: Site, press: Target
) -> None:
    client = as_(alice)
    assert client.post(page(yard, "change", yard.pk), {"name": hall.name}).status_code == 200
    other = factories.target(hall, "Press line 2")
    answer = client.post(page(other, "change", other.pk), {"name": press.name, "settings": "{}"})
    assert answer.status_code == 200
    yard.refresh_from_db()
    assert yard.name == "Yard"


def test_archiving_waits_for_active_runs(alice: User, job: Any, hall: Site, press: Target) -> None:
    client = as_(alice)
    run = factories.run(job, by=alice)
    for row in (press, hall):
        url = page(row, "change", row.pk).removesuffix("change/") + "archive/"
        assert "Archive" in client.get(url).content.decode()
        assert "a run is active" in client.post(url, follow=True).content.decode()
        row.refresh_from_db()
        assert row.archived_at is None
    client.post(reverse("admin:jobs_jobrun_cancel", args=[run.pk]))
    for row in (press, hall):
        client.post(page(row, "change", row.pk).removesuffix("change/") + "archive/")
        row.refresh_from_db()
        assert row.archived_at is not None
        assert client.get(page(row, "delete", row.pk)).status_code == 403


def _request(user: User) -> Any:
    from django.test import RequestFactory

    request = RequestFactory().get("/admin/")
    request.user = user
    return request


def test_a_missing_run_is_not_found(alice: User) -> None:
    assert as_(alice).get(f"/admin/jobs/jobrun/{uuid.uuid4()}/change/").status_code == 404
