"""The admin shows no secret, and the audit log keeps none of what it notes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.apps import apps
from django.urls import reverse

from agents.models import Function
from config.audit import AUDITED
from sites.members import remove_member
from sites.models import AccessToken, Organization, Target, User
from tests import factories
from tests.pages import admin_path as page
from tests.pages import as_

pytestmark = pytest.mark.once


def test_settings_are_shown_and_saved_without_their_secrets(alice: User, press: Target) -> None:
    Target.objects.filter(pk=press.pk).update(
        settings={"user": "op", "login": {"password": "hunter2"}}
    )
    client, url = as_(alice), page(Target, "change", press.pk)
    text = client.get(url).content.decode()
    assert "hunter2" not in text
    assert "••••" in text
    data = {"name": "Press", "address": press.address}
    kept = '{"user": "new", "login": {"password": "••••"}}'
    assert client.post(url, data | {"settings": kept}).status_code == 302
    press.refresh_from_db()
    assert press.settings == {"user": "new", "login": {"password": "hunter2"}}
    moved = client.post(url, data | {"settings": '{"elsewhere": {"password": "••••"}}'})
    assert moved.status_code == 200
    press.refresh_from_db()
    assert press.settings["login"]["password"] == "hunter2"


def test_tokens_are_ones_own_and_without_the_hash(alice: User, root: User) -> None:
    factories.access_token(alice)
    token = AccessToken.objects.get(user=alice)
    url = page(token, "change", token.pk)
    text = as_(alice).get(url).content.decode()
    assert token.name in text
    assert token.token_hash not in text
    assert as_(root).get(url).status_code == 404
    revoke = f"{url.removesuffix('change/')}revoke/"
    assert as_(root).post(revoke).status_code == 404
    assert as_(alice).post(revoke).status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None


SECRET_FIELD = re.compile(r"hash|sealed|secret|password|credential|parameters|settings|inputs")


@pytest.mark.parametrize("label", AUDITED)
def test_the_audit_leaves_out_what_looks_like_a_secret(label: str) -> None:
    model = apps.get_model(label)
    fields = {field.name: field for field in model._meta.concrete_fields}
    # A reference says which credential, and holds none.
    own = {name for name, field in fields.items() if not field.is_relation}
    assert {name for name in own if SECRET_FIELD.search(name)} <= set(AUDITED[label])
    assert set(AUDITED[label]) <= fields.keys()


def test_configuration_is_audited_and_runs_are_not(alice: User, press: Target, job: Any) -> None:
    log = apps.get_model("auditlog.LogEntry")
    log.objects.all().delete()
    as_(alice).post(
        page(press, "change", press.pk), {"name": "P2", "settings": '{"password": "hunter2"}'}
    )
    entry = log.objects.get()
    assert entry.actor == alice
    assert "hunter2" not in str(entry.changes)
    factories.run(job, by=alice)
    assert log.objects.count() == 1


def before_and_after(shown: str) -> list[tuple[str, str, str]]:
    cell = r"<td[^>]*>([^<]*)</td>"
    return re.findall(rf"<th[^>]*>(\w+)</th>{cell}<td[^>]*>→</td>{cell}", shown)


def test_the_audit_log_names_who_and_what_is_referred_to(
    alice: User, mia: User, works: Organization, press: Target, backup: Function
) -> None:
    log = apps.get_model("auditlog.LogEntry")
    job = factories.job(press, backup, owner=mia)
    log.objects.all().delete()
    job.owner = alice
    job.save()
    shown = as_(alice).get(page(log, "change", log.objects.get().pk)).content.decode()
    assert before_and_after(shown) == [("owner", str(mia), str(alice))]
    remove_member(mia.memberships.get())
    gone = log.objects.filter(content_type__model="membership").get()
    shown = as_(alice).get(page(log, "change", gone.pk)).content.decode()
    assert ("organization", works.name, "–") in before_and_after(shown)
    assert ("user", str(mia), "–") in before_and_after(shown)


def test_the_audit_log_shows_before_and_after_to_the_organizations_administrators(
    alice: User, oscar: User, root: User, works: Organization, press: Target, mia: User
) -> None:
    log = apps.get_model("auditlog.LogEntry")
    log.objects.all().delete()
    client = as_(alice)
    data = {"name": "Press line 9", "address": "10.0.0.9", "settings": '{"password": "hunter2"}'}
    client.post(page(press, "change", press.pk), data)
    pool = {"organization": works.pk, "name": "Heavy"}
    client.post(reverse("admin:agents_agentpool_add"), pool)
    remove_member(mia.memberships.get())
    AccessToken.objects.create(user=alice, name="nightly")
    url = page(log, "changelist")
    text = client.get(url).content.decode()
    for words in ("Press line 9", "address, name", "Heavy", "Mia in North Works: Member"):
        assert words in text, words
    assert "nightly" not in text
    entry = log.objects.get(object_id=press.pk, content_type__model="target")
    shown = client.get(page(entry, "change", entry.pk)).content.decode()
    assert before_and_after(shown) == [
        ("address", "10.20.4.11", "10.0.0.9"),
        ("name", "Press line 1", "Press line 9"),
    ]
    assert "hunter2" not in shown
    assert client.post(page(entry, "change", entry.pk), {"object_repr": "x"}).status_code == 403
    assert "Press line 9" not in as_(oscar).get(url).content.decode()
    assert as_(oscar).get(page(entry, "change", entry.pk)).status_code == 404
    assert "Press line 9" in as_(root).get(url).content.decode()
