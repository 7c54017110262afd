"""A place in which everything has happened once, for the tables of who may reach what."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from agents.models import AgentPool, Function
from jobs.models import Job, JobRun
from notifications import fanning
from notifications.models import Notification, Subscription
from sites import invitations, places, teams
from sites.models import AccessToken, Invitation, Membership, Organization, Site, Target, User
from tests import factories
from tests.backups import back_up, leave_file
from tests.people import API

CONVERT = {
    "name": "convert",
    "version": "1.0",
    "functions": [{"name": "convert", "takes": ["text/*"], "parameters": {"type": "object"}}],
}


@dataclass
class World:
    """The place, and the ids that addresses and bodies name, by what stands in their braces."""

    cast: dict[str, User]
    ids: dict[str, str]
    runs: dict[str, JobRun]

    def fill(self, value: Any) -> Any:
        """Put ids in place of `{name}`, however deep."""
        if isinstance(value, str):
            return value.format(**self.ids)
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return [self.fill(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def world(
    cast: dict[str, User],
    works: Organization,
    hall: Site,
    press: Target,
    job: Job,
    alice: User,
    edda: User,
) -> World:
    """Edda has backed up the press twice, converted a file, and has a backup waiting.

    She hears of all of it.
    """
    enrolled = factories.enrolled(
        works, "converter", site=hall, by=alice, tools=[factories.FOLDER, CONVERT]
    )
    convert = Function.objects.get(name="convert")
    pool = AgentPool.objects.create(organization=works, name="Presses")
    pool.agents.add(enrolled.agent)
    link = factories.target(hall, "Cloud link", kind=Target.Kind.CONNECTION)

    login = factories.credential(works, by=alice, name="Cloud login")
    places.save_target(link, credential=login)

    Subscription.objects.create(user=edda, site=hall, level="everything")
    factories.run(job, by=edda)
    back_up(enrolled.api, {"plc/main.st": b"x := 1;\n", "readme": b"hello\n"})
    factories.run(job, by=edda)
    last = back_up(enrolled.api, {"plc/main.st": b"x := 2;\n", "readme": b"hello\n"})
    saved = JobRun.objects.select_related("snapshot").get(public_id=last["id"])

    api, upload, data = API(edda), uuid.uuid4(), b"a,b\n"
    assert api.upload(upload, 0, data).status_code == 200
    described = {
        "upload": str(upload),
        "name": "a.csv",
        "media_type": "text/csv",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    started = api.post(
        "runs",
        {
            "target": str(link.public_id),
            "function": str(convert.public_id),
            "inputs": [described],
        },
    )
    assert started.status_code == 201, started.content
    (held,) = enrolled.api.claim()
    assert enrolled.api.move(held, "running").status_code == 200
    enrolled.api.post(enrolled.api.of(held, "log"), {"offset": 0, "text": "one\ntwo\n"})
    record = {"sequence": 1, "name": "a.csv", "status": "success"}
    enrolled.api.post(enrolled.api.of(held, "records"), {"records": [record]})
    left = uuid.uuid4()
    leave_file(enrolled.api, held, left, "report.html", b"<script>alert(1)</script>")
    assert enrolled.api.finish(held).status_code == 200
    converted = JobRun.objects.get(public_id=held["id"])

    careful = factories.job(
        factories.target(hall, "Press line 3"), job.function, owner=edda, auto_commit=False
    )
    proposed = factories.run(careful, by=edda)
    back_up(enrolled.api, {"plc/main.st": b"x := 3;\n"})

    invitation = invitations.invite(works, email="new@example.org", role="member", by=alice)
    invitations.send(invitation)
    # Some time ago: the same mail is not sent twice in a minute.
    Invitation.objects.update(sent_at=timezone.now() - timedelta(hours=1))

    fanning.fan_out()

    waiting = factories.run(job, by=edda)
    token = AccessToken.objects.filter(user=edda).first()
    assert token is not None
    assert saved.snapshot is not None
    ids = {
        "works": works.public_id,
        "member": Membership.objects.get(user=edda).public_id,
        "team": teams.add_team(works, "Night shift").public_id,
        "invitation": invitation.public_id,
        "joining": str(mail.outbox[-1].body).partition("/join/")[2].split()[0],
        "hall": hall.public_id,
        "press": press.public_id,
        "link": link.public_id,
        "job": job.public_id,
        "backup": job.function.public_id,
        "convert": convert.public_id,
        "agent": enrolled.agent.public_id,
        "pool": pool.public_id,
        "login": login.public_id,
        "snapshot": saved.snapshot.public_id,
        "run": saved.public_id,
        "converted": converted.public_id,
        "waiting": waiting.public_id,
        "proposed": proposed.public_id,
        "input": converted.inputs.get().public_id,
        "file": left,
        "token": token.public_id,
        "notification": Notification.objects.filter(recipient=edda)[0].public_id,
        "upload": uuid.uuid4(),
    }
    return World(
        cast,
        {name: str(value) for name, value in ids.items()},
        {"saved": saved, "converted": converted, "waiting": waiting},
    )
