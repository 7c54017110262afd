"""Where a person is logged in, and how they end that elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from allauth.usersessions.models import UserSession
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from .members import account_changed
from .models import User

# The first that is found names it: the later ones are in the texts of the earlier ones too.
_BROWSERS = {
    "Edg": "Edge",
    "OPR": "Opera",
    "Firefox": "Firefox",
    "Chrom": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS = {
    "Android": "Android",
    "iPhone|iPad": "iOS",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


@dataclass(frozen=True, slots=True)
class Place:
    """One log-in that lasts: on which device, from where, since when."""

    pk: int
    key: str
    device: str
    address: str
    since: datetime


def places(user: User) -> list[Place]:
    """List where a person is logged in, the newest first."""
    noted = UserSession.objects.filter(user=user).order_by("-created_at", "-pk")
    by_key = {one.session_key: one for one in noted}
    lasting = Session.objects.filter(session_key__in=list(by_key), expire_date__gt=timezone.now())
    # A change of the password ends the other sessions without removing them.
    current = user.get_session_auth_hash()
    valid = {
        one.session_key for one in lasting if one.get_decoded().get(HASH_SESSION_KEY) == current
    }
    return [
        Place(one.pk, key, device_of(one.user_agent), one.ip, one.created_at)
        for key, one in by_key.items()
        if key in valid
    ]


def end(user: User, ended: Iterable[Place]) -> None:
    """End log-ins of a person: from their next request on, and with their live connections."""
    keys = [place.key for place in ended]
    if not keys:
        return
    with transaction.atomic():
        Session.objects.filter(session_key__in=keys).delete()
        UserSession.objects.filter(user=user, session_key__in=keys).delete()
        account_changed(user)


def sweep(*, before: datetime) -> None:
    """Forget the log-ins that are over, but for what was noted since `before`."""
    Session.objects.filter(expire_date__lte=timezone.now()).delete()
    over = UserSession.objects.exclude(session_key__in=Session.objects.values("session_key"))
    over.filter(created_at__lt=before).delete()


def device_of(user_agent: str) -> str:
    """Say which browser on which system it is, as far as it says so."""
    browser = _first(_BROWSERS, user_agent) or "A program"
    system = _first(_SYSTEMS, user_agent)
    return f"{browser} on {system}" if system else browser


def _first(known: dict[str, str], text: str) -> str:
    return next((name for mark, name in known.items() if re.search(mark, text)), "")
