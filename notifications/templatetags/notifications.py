"""How notifications are drawn: what happened, why one hears of it, what became of the mail."""

from __future__ import annotations

import datetime as dt

from django import template
from django.utils import timezone

from sites.templatetags.portal import zone_of

from ..models import Notification

register = template.Library()


@register.filter
def in_zone(moment: dt.datetime, zone: str) -> str:
    """Print an instant for a mail: "23 Nov 2026, 02:00 CET"."""
    local = timezone.localtime(moment, zone_of(zone))
    return f"{local.day} {local:%b %Y, %H:%M %Z}"


@register.simple_tag
def because(word: str, site: str, organization: str) -> str:
    """Say why a person hears of it."""
    match word:
        case Notification.Because.STARTER:
            return "You hear of this because the run is yours."
        case Notification.Because.ADMINISTRATOR:
            return f"You hear of this because you administer {organization}."
    return f"You hear of this because you chose so for {site}."
