"""Decides what a fresh installation shows: one organization with something real to back up.

All of it is made once, in a database without any people, and is ordinary data from then on:
what is changed or removed later stays so.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
from pathlib import Path

from django.conf import settings
from django.db import transaction

from agents import enrolment
from agents.models import Agent, Function
from jobs import definitions
from jobs.models import Job
from sites import members
from sites.models import Organization, Role, Site, Target, User
from sites.models.place import is_zone
from yardmaster.agent import config as agent_config

USERNAME = "admin"
ORGANIZATION = "Riverside Water"
SITE = "Pump Station"
TARGET = "Pump Controller"
AGENT = "Local agent"
# No letter or digit that is taken for another.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def ensure_demo() -> bool:
    """Make people, place and target in an empty database; say whether that was needed."""
    if User.objects.exists() or Organization.objects.exists():
        return False
    folder = demo_folder()
    if not folder.exists():
        shutil.copytree(Path(__file__).parent / "demo_folder", folder, copy_function=shutil.copy)
    password = kept_password()  # before its hash: a crash between them leaves no locked door
    with transaction.atomic():
        # Its mail lies in the data folder until a server is named.
        admin = User.objects.create_superuser(USERNAME, f"{USERNAME}@localhost", password)
        organization = Organization(name=ORGANIZATION)
        organization.full_clean()
        organization.save()
        members.add_member(organization, admin, Role.ADMINISTRATOR)
        site = Site(organization=organization, name=SITE, time_zone=machine_zone())
        site.full_clean()
        site.save()
        target = Target(
            organization=organization,
            site=site,
            name=TARGET,
            kind=Target.Kind.DEVICE,
            address=str(folder),
            created_by=admin,
        )
        target.full_clean()
        target.save()
    return True


def enrolment_code() -> str | None:
    """Return a code for the agent of this machine, or None where there is no demo to serve."""
    target = demo_target()
    admin = User.objects.filter(username=USERNAME).first()
    if target is None or admin is None:
        return None
    agent = Agent.objects.filter(
        organization=target.organization, name=AGENT, retired_at=None
    ).first()
    if agent is not None:
        return enrolment.new_code(agent, by=admin)
    return enrolment.add_agent(target.organization, name=AGENT, by=admin, site=target.site)[1]


def enrolled_agent(folder: Path) -> Agent | None:
    """Return the agent that the program in this folder is, if this database knows it."""
    try:
        public_id = json.loads((folder / "config.json").read_text())["agent"]
    except (OSError, ValueError, KeyError):
        return None
    return Agent.objects.filter(public_id=public_id).first()


def point_agent(folder: Path, portal: str) -> None:
    """Tell the enrolled agent where the portal is now: it may be another port than before."""
    enrolment_kept = agent_config.read(folder)
    if enrolment_kept.portal != portal:
        agent_config.write(folder, dataclasses.replace(enrolment_kept, portal=portal))


def ensure_job() -> bool:
    """Make the demo's job once its function is known; say whether there is nothing left to do."""
    target = demo_target()
    if target is None or Job.objects.filter(target=target).exists():
        return True
    function = Function.objects.filter(
        organization=target.organization, tool__name="folder", name="backup"
    ).first()
    if function is None:
        return False
    admin = User.objects.filter(username=USERNAME).first()
    if admin is not None:
        job = Job(target=target, name=f"{TARGET} backup", function=function, owner=admin)
        definitions.save(job, by=admin)
    return True


def demo_target() -> Target | None:
    """Return the demo's target, unless somebody has changed or archived it."""
    return (
        Target.objects.filter(
            organization__name=ORGANIZATION, address=str(demo_folder()), archived_at=None
        )
        .select_related("organization", "site")
        .first()
    )


def demo_folder() -> Path:
    """Return the folder that the demo's job backs up."""
    return settings.DATA_DIR / "demo-folder"


def password_file() -> Path:
    """Return the file that keeps the first administrator's password."""
    return settings.DATA_DIR / "admin-password"


def kept_password() -> str:
    """Return the generated password, made now when there is none, readable by its owner alone."""
    try:
        handle = os.open(password_file(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return password_file().read_text().strip()
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))
    password = "-".join(groups)
    with os.fdopen(handle, "w") as file:
        file.write(f"{password}\n")
    return password


def login() -> tuple[str, str]:
    """Return the name to log in with and what to say of its password."""
    admin = User.objects.filter(username=USERNAME).first()
    if admin is None or not password_file().exists():
        return "your own name", "your own"
    password = password_file().read_text().strip()
    return USERNAME, password if admin.check_password(password) else "the one that you chose"


def machine_zone() -> str:
    """Return the time zone of this machine by its name in the tz database, else UTC."""
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    for path, read in (("/etc/timezone", Path.read_text), ("/etc/localtime", os.path.realpath)):
        try:
            found = str(read(Path(path))).strip()
        except OSError:
            continue
        candidates.append(found.partition("zoneinfo/")[2] or found)
    return next((name for name in candidates if is_zone(name)), "UTC")
