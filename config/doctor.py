"""Decides what a healthy installation is: what is looked at, in which order, and what to do."""

from __future__ import annotations

import json
import math
import os
import stat
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.core import mail
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import F, Min
from django.db.models.functions import Now
from django.utils import timezone

from agents.models import Agent
from config import disks, health, running
from config.celery import app
from config.logs import hidden
from notifications import lag
from notifications.models import Delivery
from sites import pulse, ticks
from sites.models import Pulse

ANSWER_WITHIN_S = 5
CLOCKS_APART_S = 2.0
FROM_PYTHON = (3, 11)
# What makes a commit outlive a power cut: the value that each must have, and what else is as good.
_POSTGRESQL = {
    "synchronous_commit": {"on", "remote_write", "remote_apply"},
    "fsync": {"on"},
    "full_page_writes": {"on"},
}


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, `ok`, `warn` or `fail`, what was found, and what to do."""

    name: str
    state: str
    found: str
    cure: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything; a check that breaks is a finding too, without the secrets in its words.

    Reads, and writes one small file to the file storage and takes it away again.
    """
    failed = ""  # of what the others need of the database, the first that fails
    for name, check in CHECKS.items():
        try:
            state, found, cure = check()
        except Exception as error:
            if failed and isinstance(error, DatabaseError):
                yield Finding(name, "warn", "not known", f"Mend {failed} first.")
                continue
            # Whatever is wrong with this installation is what is asked for.
            said = " ".join(str(error).split()) or type(error).__name__
            state, found, cure = "fail", hidden(said), CURES[name]
        if name == "database" and state == "fail" and connection.vendor == "sqlite":
            file = connection.settings_dict["NAME"]
            cure = f"See that the portal's user may write {file} and the folder that it is in."
        if name in ("database", "migrations") and state == "fail":
            failed = failed or name
        yield Finding(name, state, found, cure if state != "ok" else "")


Outcome = tuple[str, str, str]


def python() -> Outcome:
    version = ".".join(map(str, sys.version_info[:3]))
    state = "ok" if sys.version_info >= FROM_PYTHON else "fail"
    return state, f"Python {version}", "Install Python 3.11 or newer and start with that."


def database() -> Outcome:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SHOW server_version")
            name = f"PostgreSQL {cursor.fetchone()[0]}"
            values = {}
            for setting in _POSTGRESQL:
                cursor.execute(f"SHOW {setting}")
                values[setting] = cursor.fetchone()[0]
            wrong = [
                f"{one} is {values[one]}" for one in values if values[one] not in _POSTGRESQL[one]
            ]
        else:
            cursor.execute("SELECT sqlite_version()")
            name = f"SQLite {cursor.fetchone()[0]}"
            cursor.execute("PRAGMA journal_mode")
            wrong = [f"journal_mode is {mode}" for (mode,) in cursor.fetchall() if mode != "wal"]
            cursor.execute("PRAGMA synchronous")
            wrong += [f"synchronous is {level}" for (level,) in cursor.fetchall() if level < 2]
    if wrong:
        cure = "Set it to on: a power cut may lose what agents were told is stored."
        return "warn", f"{name}, {', '.join(wrong)}", cure
    return "ok", f"{name}, commits outlive a power cut", ""


def migrations() -> Outcome:
    if health.migrations_are_applied():
        return "ok", "all are applied", ""
    return "fail", "some are not applied", CURES["migrations"]


def data_folder() -> Outcome:
    folder = Path(settings.DATA_DIR)
    wrong = [
        path
        for path in (folder, *(one for one in sorted(folder.iterdir()) if _is_key(one)))
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if wrong:
        names = " ".join(map(str, wrong))
        return "fail", f"others may read {names}", f"Take that from them: chmod go= {names}"
    if not os.access(folder, os.W_OK):
        return "fail", f"{folder} cannot be written", CURES["data folder"]
    return "ok", f"{folder}, readable by its owner alone", ""


def _is_key(path: Path) -> bool:
    return path.is_file() and path.name in ("secret-key", "credential-keys", "admin-password")


def storage() -> Outcome:
    health.storage_is_writable()
    content = uuid4().hex.encode()
    name = default_storage.save(f"doctor/{uuid4()}", ContentFile(content))
    try:
        with default_storage.open(name) as stored:
            same = stored.read() == content
    finally:
        default_storage.delete(name)
    if not same:
        return "fail", "a file came back other than it was written", CURES["storage"]
    return "ok", "a file was written, read and removed", ""


def broker() -> Outcome:
    with app.connection_for_write() as broker:
        broker.ensure_connection(
            max_retries=1, interval_start=0, timeout=ANSWER_WITHIN_S, errback=lambda *_: None
        )
        return "ok", f"{broker.transport_cls} answers", ""


def worker_and_beat() -> Outcome:
    ages, since_s = ticks.ages(), _there_for_s()
    if late := ticks.late(ages, watched_s=since_s):
        # That the rarest are late holds nothing up.
        state = "warn" if ticks.UNHURRIED.issuperset(late) else "fail"
        return state, f"late: {_ages(late, ages)}", CURES["worker and beat"]
    if awaited := [name for name in ticks.late(ages) if name not in ticks.UNHURRIED]:
        said = f"started {since_s:.0f} s ago, awaited: {_ages(awaited, ages)}"
        return "warn", said, "Ask again in two minutes: then it is known whether they work."
    return "ok", f"the last sweep was {_age(ages['sweep'])}", ""


def _ages(names: list[str], ages: dict[str, float]) -> str:
    return ", ".join(f"{name} {_age(ages.get(name))}" for name in names)


def _there_for_s() -> float:
    """For how long the portal has been there without a break, so that something could be late.

    Since the last of these: its installation, the end of the time in which nobody served, the start
    of what `up` has started.
    """
    serving = Pulse.objects.filter(name=pulse.SERVING, resumed_at__isnull=False)
    known = [one.total_seconds() for one in serving.values_list(Now() - F("resumed_at"), flat=True)]
    installed = MigrationRecorder.Migration.objects.aggregate(at=Min("applied"))["at"]
    if installed is not None:
        known.append((timezone.now() - installed).total_seconds())
    if up := running.find(Path(settings.DATA_DIR)):
        known.append(up.since_s)
    return max(min(known, default=math.inf), 0.0)


def _age(seconds: float | None) -> str:
    return "was never seen" if seconds is None else f"{seconds:.0f} s ago"


def clock() -> Outcome:
    with connection.cursor() as cursor:
        begun = time.time()
        if connection.vendor != "postgresql":
            return "ok", "the database is on this machine", ""
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        theirs = cursor.fetchone()[0]
        apart = abs(theirs - (begun + time.time()) / 2)
    if apart > CLOCKS_APART_S:
        return "warn", f"{apart:.1f} s from the database's", CURES["clock"]
    return "ok", f"{apart:.1f} s from the database's, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", ""


def disk_space() -> Outcome:
    least = disks.fullest()
    state = {"ok": "ok", "low": "warn", "full": "fail"}[least.state]
    return state, f"{least} free at {least.folder}", CURES["disk space"]


def public_address() -> Outcome:
    # What `up` was told at its start, such as another port, stands in no setting.
    up = None if os.environ.get("PUBLIC_URL") else running.find(Path(settings.DATA_DIR))
    public = up.url if up else settings.PUBLIC_URL
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{public}/healthz", timeout=ANSWER_WITHIN_S) as answer:
            said = answer.read(1000)
    except urllib.error.HTTPError as error:
        return "fail", f"{public}/healthz answers {error.code}", CURES["public address"]
    except OSError as error:
        why = getattr(error, "reason", error)
        why = getattr(why, "strerror", None) or why
        return "fail", f"{public} does not answer: {why}", CURES["public address"]
    try:
        alive = json.loads(said) == {"status": "alive"}
    except ValueError:
        alive = False
    if not alive:
        return "fail", f"something else answers at {public}/healthz", CURES["public address"]
    return "ok", f"{public} answers", ""


def mailing() -> Outcome:
    if settings.EMAIL_BACKEND.endswith("filebased.EmailBackend"):
        return "ok", f"is written to {settings.MAIL_FOLDER}: EMAIL_URL names no server", ""
    if not settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        return "ok", f"goes to {settings.EMAIL_BACKEND.rpartition('.')[0]}", ""
    server = mail.get_connection(timeout=ANSWER_WITHIN_S)
    server.open()
    server.close()
    return "ok", f"{settings.EMAIL_HOST} takes it", ""


def notifications() -> Outcome:
    waiting_s = lag.oldest_waiting_s()
    if waiting_s is not None and lag.is_late(waiting_s, watched_s=_there_for_s()):
        return "fail", f"the oldest has waited for {waiting_s:.0f} s", CURES["notifications"]
    again = Delivery.objects.filter(next_at__isnull=False).exclude(error="")
    if refused := again.order_by("-attempts").first():
        return "warn", f"a mail is tried again: {refused.error}", CURES["mail"]
    return "ok", "none waits for long", ""


def agents() -> Outcome:
    seen = [(one.state, one.name) for one in Agent.objects.in_use().with_state()]
    states = Counter(state for state, _ in seen)
    said = ", ".join(
        f"{number} {state.replace('_', ' ')}" for state, number in sorted(states.items())
    )
    if not seen:
        return "warn", "there is none", "Add one on the portal's page Agents: one line to paste."
    away = [name for state, name in seen if state == "disconnected"]
    if away:
        more = " …" if len(away) > 3 else ""
        cure = f"Look at the machines of {', '.join(away[:3])}{more}: yardmaster agent status"
        return "warn", said, cure
    return "ok", said, ""


CHECKS: dict[str, Callable[[], Outcome]] = {
    "Python": python,
    "database": database,
    "migrations": migrations,
    "data folder": data_folder,
    "storage": storage,
    "broker": broker,
    "worker and beat": worker_and_beat,
    "clock": clock,
    "disk space": disk_space,
    "public address": public_address,
    "mail": mailing,
    "notifications": notifications,
    "agents": agents,
}
# What to do where a check breaks or has nothing better to say.
CURES: dict[str, str] = {
    "Python": "Install Python 3.11 or newer.",
    "database": "See that the server of DATABASE_URL runs and lets this machine in.",
    "migrations": "Run: python3 manage.py migrate",
    "data folder": "Make YARDMASTER_DATA a folder that the portal's user owns.",
    "storage": "See that the folders (or the bucket of STORAGE_URL) can be written, and have room.",
    "broker": "See that the server of CELERY_BROKER_URL runs and lets this machine in.",
    "worker and beat": "See that the worker and beat processes run, and read what they log.",
    "clock": "Let both machines take their time from the network (chrony, systemd-timesyncd).",
    "disk space": "Make room, or move YARDMASTER_DATA or VAULT_ROOT to a larger disk.",
    "public address": "See that the web process runs, that PUBLIC_URL is right, and that the proxy"
    " leads there.",
    "mail": "See that the mail server's address and password are right.",
    "notifications": "See that worker and beat run, and that the mail server answers.",
    "agents": "Look at the agents' machines.",
}
