"""What the mail about a notification says; how it leaves is `sites/mail.py`'s."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.validators import validate_email
from django.urls import reverse

from jobs import signs
from jobs.diagnosis import UNLIKELY, likely_causes
from jobs.meaning import meaning
from jobs.models import JobRun
from jobs.templatetags.runs import after_first_line
from sites import mail
from sites.masking import without_password

from .. import wording
from ..models import Delivery, Notification
from ..news import News

# Of a commit message so many lines are in a mail; the page has the rest.
MESSAGE_LINES = 40
# Its first line, behind a place and a name that may be as long as they like.
LONGEST_NAME = 80


def send(delivery: Delivery) -> None:
    """Send one mail.

    Raises ValidationError for an address that no mail can have, OSError where the server does not
    take it.
    """
    notification = delivery.notification
    validate_email(notification.recipient.email)
    run = _run(notification)
    mail.send(
        "news",
        to=notification.recipient.email,
        subject=subject_of(notification, run),
        context=_context(notification, run),
        headers={
            "Message-ID": f"<{delivery.public_id}@{urlsplit(settings.PUBLIC_URL).hostname}>",
            # No holiday answers it.
            "Auto-Submitted": "auto-generated",
        },
    )


def _run(notification: Notification) -> JobRun | None:
    """Read the run with all that is said of it; None where it is not about one, or is pruned."""
    runs = JobRun.objects.for_rows().select_related(
        "job__site", "proposal__decided_by", "proposal__superseded_by__run"
    )
    found = wording.runs_of([notification], runs.annotate(**signs.evidence()))
    return found.get(notification.event.subject_id)


def subject_of(notification: Notification, run: JobRun | None) -> str:
    """Say where, what and how it ended, and in a few words why."""
    place = notification.site or notification.organization
    said = [mail.one_line(str(place), LONGEST_NAME)]
    if notification.news == News.SILENT:
        return f"{said[0]} · {wording.brief(notification, run)}"
    name = mail.one_line(wording.name_of(notification), LONGEST_NAME)
    why = wording.brief(notification, run)
    ended = f"{name}: {notification.get_news_display()}"
    return f"{said[0]} · {ended}{f' — {why}' if why else ''}"


def _context(notification: Notification, run: JobRun | None) -> dict[str, Any]:
    site = notification.site
    context: dict[str, Any] = {
        "organization": mail.one_line(notification.organization.name, LONGEST_NAME),
        "place": mail.one_line(wording.place_of(notification), 2 * LONGEST_NAME),
        "name": mail.one_line(wording.name_of(notification), LONGEST_NAME),
        "ended": notification.get_news_display(),
        "at": notification.event.at,
        "zone": site.time_zone if site else "UTC",
        "brief": wording.brief(notification, run),
        "because": notification.because,
        "site": mail.one_line(site.name, LONGEST_NAME) if site else "",
        "link": settings.PUBLIC_URL + wording.address_of(notification),
        "profile": f"{settings.PUBLIC_URL}{reverse('profile')}#notifications",
    }
    if run is not None:
        context |= {
            "says": without_password(meaning(run)),
            "run": run,
            "causes": _causes(notification, run),
            **_changes(notification, run),
        }
    return context


def _causes(notification: Notification, run: JobRun) -> list[Any]:
    """Give the likely causes of a time-out, as its page does for the same reader."""
    if notification.news != News.TIMED_OUT:
        return []
    found = likely_causes(run, by=notification.recipient)
    return [cause for cause in found if cause.weight != UNLIKELY]


def _changes(notification: Notification, run: JobRun) -> dict[str, Any]:
    """Give what a backup found: how many files, and the commit message, which hides secrets."""
    snapshot = run.snapshot
    if notification.news != News.MODIFIED or snapshot is None:
        return {}
    counted = {
        "added": snapshot.added,
        "modified": snapshot.modified,
        "removed": snapshot.removed,
        "renamed": snapshot.renamed,
    }
    lines = after_first_line(snapshot.message).splitlines()
    return {
        "counts": ", ".join(f"{number:,} {what}" for what, number in counted.items() if number),
        "subject": mail.one_line(snapshot.message.strip().partition("\n")[0]),
        "message": "\n".join(lines[:MESSAGE_LINES]),
        "left_out": max(len(lines) - MESSAGE_LINES, 0),
    }
