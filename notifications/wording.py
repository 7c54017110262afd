"""What a notification says, on pages and in mail alike: a headline, and what led to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from jobs.models import JobRun
from jobs.querysets import RunQuerySet
from jobs.states import Reason
from jobs.templatetags.runs import first_line
from sites.masking import without_password
from sites.templatetags.portal import many, zone_of

from .models import Notification
from .news import News


def name_of(notification: Notification) -> str:
    """Name the job, or the organization whose agents are silent."""
    if notification.news == News.SILENT:
        return notification.organization.name
    return str(notification.event.data.get("name") or "A run")


def place_of(notification: Notification) -> str:
    """Name target and site, as far as it has them."""
    return ", ".join(place.name for place in (notification.target, notification.site) if place)


def brief(notification: Notification, run: JobRun | None) -> str:
    """Say in a few words what led to it; empty where the headline says it all.

    Without its run, which may have been pruned, it says what the Event knows.
    """
    data = notification.event.data
    match notification.news:
        case News.SILENT:
            return f"{many(data['agents'], 'agent')} with runs fell silent at once"
        case News.MISSED:
            at = datetime.fromisoformat(data["planned_at"])
            zone = zone_of(notification.site.time_zone if notification.site else None)
            local = at.astimezone(zone)
            more = data["number"] - 1
            others = f", and {many(more, 'start')} before it" if more else ""
            return f"the start of {local.day} {local:%b, %H:%M %Z}{others}"
        case _ if run is None:
            return ""
        case News.FAILED | News.TIMED_OUT:
            if run.reason and run.reason != Reason.ERROR:
                return run.get_reason_display()
            return without_password(first_line(run.error or run.message))[:120]
        case News.MODIFIED if run.snapshot is not None:
            return many(run.snapshot.changes, "file")
    return without_password(first_line(run.summary or run.message))[:120]


def address_of(notification: Notification) -> str:
    """Say which page of the portal shows more of it."""
    subject = notification.event.subject_id
    if notification.news == News.SILENT:
        return reverse("agent-list")
    if notification.news == News.MISSED:
        return f"{reverse('planned-list')}?outcome=missed&job={subject}"
    return reverse("run-detail", args=[subject])


def is_of_run(notification: Notification) -> bool:
    """Say whether it is about a run: its Event's subject is one."""
    return notification.event.kind.startswith("run.")


def runs_of(
    notifications: Iterable[Notification], runs: RunQuerySet | None = None
) -> dict[UUID, JobRun]:
    """Fetch the runs of a page of notifications, by their ids: one query, or none."""
    ids = [one.event.subject_id for one in notifications if is_of_run(one)]
    if not ids:
        return {}
    rows = JobRun.objects.select_related("snapshot") if runs is None else runs
    return rows.in_bulk(ids, field_name="public_id")
