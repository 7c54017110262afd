"""What the audit log is told, where it does not see by itself that configuration changed."""

from __future__ import annotations

from auditlog.context import auditlog_disabled
from auditlog.models import LogEntry
from django.contrib.auth.models import Group
from django.db.models import Model

from .models import User


def told(name: str, who: User | Group) -> str:
    """Name a person or group so that two of one name are told apart."""
    own = who.username if isinstance(who, User) else name
    return name if name == own else f"{name} ({own})"


def note(about: Model, what: str, before: str, after: str) -> None:
    """Write that something of an object was one thing and is another, with who is asking.

    Call in the transaction that changes it. The log itself sees rows of its models alone.
    """
    if not auditlog_disabled.get():
        LogEntry.objects.log_create(
            about,
            force_log=True,
            action=LogEntry.Action.UPDATE,
            changes={what: [before or "–", after or "–"]},
        )
