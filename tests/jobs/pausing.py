"""How tests pause a job, a site or an agent: as a program does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from sites.models import User
from tests.people import API

KINDS = ("job", "site", "agent")
_PLURAL = {"job": "jobs", "site": "sites", "agent": "agents"}


def kind_of(thing: Any) -> str:
    return str(thing._meta.model_name)


def in_api(thing: Any, act: str = "") -> str:
    return f"{_PLURAL[kind_of(thing)]}/{thing.public_id}{act}"


def pause(thing: Any, by: User, *, hours: float = 2, reason: str = "New bearings") -> Any:
    answer = ask_pause(thing, by, hours=hours, reason=reason)
    assert answer.status_code == 200, answer.json()
    return answer


def ask_pause(thing: Any, by: User, *, hours: float = 2, reason: str = "New bearings") -> Any:
    until = (timezone.now() + timedelta(hours=hours)).isoformat()
    return API(by).post(in_api(thing, "/pause"), {"until": until, "reason": reason})
