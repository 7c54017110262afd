"""Decides what a probe is told: whether this process lives, and whether it can serve.

Anyone may ask, so the answers name what fails and what is how old, and nothing more; the log has
the reason. Who may ask for metrics is told their figures too.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from config import metrics, watch
from config.disks import fullest, local_folders, nearest
from sites import ticks
from sites.problems import problem

log = logging.getLogger(__name__)


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Say that this process answers, whatever the database does."""
    return _uncached(JsonResponse({"status": "alive"}))


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Say whether this process can serve; 503 names what it lacks.

    What repeats and is late is named too, and a disk with little room, but they make no process
    unready: pages and agents are served without a worker, and taking all web processes away would
    not bring it back.
    """
    if wrong := failing():
        return _unready(wrong)
    try:
        told = _figures() if metrics.may_ask(request) else {}
        waiting = watch.deliveries()
    except DatabaseError:
        log.warning("Not ready: the database went after it was checked.", exc_info=True)
        return _unready(["database"])
    ages = ticks.ages()
    told |= {
        "status": "ready",
        "late": ticks.late(ages, watched_s=ticks.watched_s()) + ["deliveries"] * waiting.late,
        "low": [] if fullest().state == "ok" else ["disk"],
        # In seconds; null is what was never done, or nobody knows when.
        "ages": {
            **{name: _tenths(ages.get(name)) for name in ticks.TICKS},
            # For how long the oldest has waited; null where none does.
            "deliveries": _tenths(waiting.age_s),
        },
    }
    return _uncached(JsonResponse(told))


def _figures() -> dict[str, Any]:
    """Give what `/metrics` tells as well, and to nobody else: it is of all organizations."""
    return {
        "oldest_pending_s": _tenths(watch.oldest_pending_s()),
        "database_s": round(watch.database_s(), 4),
        "disk_free_bytes": fullest().free,
    }


def _unready(wrong: list[str]) -> HttpResponse:
    body = problem(503, "not_ready", f"Failing: {', '.join(wrong)}.", failing=wrong)
    answer = JsonResponse(body, status=503, content_type="application/problem+json")
    answer["Retry-After"] = "5"
    return _uncached(answer)


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def failing() -> list[str]:
    """Name the checks that do not pass; the log has the reasons."""
    return [name for name, check in CHECKS.items() if not _passes(name, check)]


def migrations_are_applied() -> bool:
    """Compare what is applied with what this version has; the latter is read once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        return wanted_migrations() <= set(cursor.fetchall())


@cache
def wanted_migrations() -> frozenset[tuple[str, str]]:
    """Give every migration that this version needs; for one that replaces others, those others.

    Their names every database has. That of the replacing one it may lack until the next `migrate`.
    """
    nodes = MigrationLoader(None).graph.nodes.items()
    return frozenset(name for own, migration in nodes for name in migration.replaces or [own])


def storage_is_writable() -> bool:
    """Write a file and lose it again, in each local folder that must take some."""
    for folder in local_folders():
        with tempfile.TemporaryFile(dir=nearest(folder)) as file:
            file.write(b"1")
            file.flush()
    return True


CHECKS: dict[str, Callable[[], bool]] = {
    "database": watch.database_answers,
    "migrations": migrations_are_applied,
    "storage": storage_is_writable,
}


def _passes(name: str, check: Callable[[], bool]) -> bool:
    try:
        return check()
    except Exception:
        # A probe is answered whatever went wrong: that it went wrong is the answer.
        log.warning("Not ready: the check of %s failed.", name, exc_info=True)
        connection.close_if_unusable_or_obsolete()
        return False


def _uncached(answer: HttpResponse) -> HttpResponse:
    answer["Cache-Control"] = "no-store"
    return answer
