"""How notifications are drawn: what happened, why one hears of it, what became of the mail."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import template
from django.utils import timezone

from jobs.models import JobRun
from jobs.templatetags.runs import CHIPS, FATES
from sites.models import User
from sites.pages import ON_PAGE
from sites.templatetags.portal import zone_of

from .. import delivering, subscriptions, wording
from ..models import Delivery, Notification
from ..news import Level, News

register = template.Library()

# news → (look, icon, words): those of the run's result chip, and two that are of no run
NEWS: dict[str, tuple[str, str, str]] = {
    **{news: CHIPS[news] for news in News.values if news in CHIPS},
    News.MISSED: FATES["missed"],
    News.SILENT: ("red", "wifi-off", "Agents silent"),
}
# why one hears of it, as it is said to oneself
WHY = {
    Notification.Because.CHOSEN: "Your choice for the site",
    Notification.Because.STARTER: "Your run",
    Notification.Because.ADMINISTRATOR: "You administer it",
}
# state of a delivery → (colour of its words, words)
MAIL: dict[str, tuple[str, str]] = {
    Delivery.State.SENT: ("soft", "Mailed"),
    Delivery.State.WAITING: ("dim", "Being mailed"),
    Delivery.State.RETRYING: ("t-orange", "Not taken yet, is tried again"),
    Delivery.State.FAILED: ("t-red", "Not taken"),
    Delivery.State.WITHHELD: ("dim", "Not mailed"),
}


@register.inclusion_tag("components/chip.html")
def news_chip(news: str) -> dict[str, Any]:
    """Draw what happened."""
    look, icon, words = NEWS[news]
    return {"look": look, "icon": icon, "words": words}


@register.simple_tag
def told(notification: Any, run: JobRun | None) -> dict[str, str]:
    """Say of a row what it is about, why this person hears of it, and how its mail stands.

    A run that was pruned has no page any more.
    """
    found = {
        "name": wording.name_of(notification),
        "place": wording.place_of(notification),
        "brief": wording.brief(notification, run),
        "because": WHY[notification.because],
        "address": "",
    }
    if run is not None or not wording.is_of_run(notification):
        found["address"] = wording.address_of(notification)
    if notification.decision == Notification.Decision.SUPPRESSED:
        look, words, title = "dim", f"Not mailed: {notification.get_reason_display()}", ""
    elif notification.mail_id is None:
        look, words, title = "dim", "", ""
    else:
        columns = (notification.mail_sent_at, notification.mail_next_at, notification.mail_error)
        look, words = MAIL[Delivery.state_of(*columns)]
        title = notification.mail_error
    return found | {"look": look, "mail": words, "title": title}


@register.inclusion_tag("notifications/choices.html", takes_context=True)
def choices(context: template.Context) -> dict[str, Any]:
    """Draw what the person hears of, a row for each site that they see."""
    request = context["request"]
    user: User = request.user
    asked = request.GET.get("sites", "")
    page = int(asked) if asked.isascii() and asked.isdigit() and 0 < len(asked) < 5 else 0
    rows = subscriptions.sites_of(user).order_by("organization__name", "name", "pk")
    # One more than is shown says whether there is another page, without counting.
    found = list(rows[page * ON_PAGE : (page + 1) * ON_PAGE + 1])
    sites = [
        (site, "problems" if subscriptions.hears_of_all(user, site) else "problems of your runs")
        for site in found[:ON_PAGE]
    ]
    return {
        "request": request,
        "sites": sites,
        "before": str(page - 1) if page else "",
        "after": str(page + 1) if len(found) > ON_PAGE else "",
        "levels": Level.choices,
        "several": len({site.organization_id for site, _ in sites}) > 1,
        "email": user.email,
        "off": delivering.off(user),
    }


@register.filter
def in_zone(moment: dt.datetime, zone: str) -> str:
    """Print an instant for a mail: "23 Nov 2026, 02:00 CET"."""
    local = timezone.localtime(moment, zone_of(zone))
    return f"{local.day} {local:%b %Y, %H:%M %Z}"


@register.simple_tag
def because(word: str, site: str, organization: str) -> str:
    """Say in a mail why a person hears of it."""
    match word:
        case Notification.Because.STARTER:
            return "You hear of this because the run is yours."
        case Notification.Because.ADMINISTRATOR:
            return f"You hear of this because you administer {organization}."
    return f"You hear of this because you chose so for {site}."
