"""How the portal's templates print what is not plain text: icons, times, durations, numbers."""

import datetime as dt
import zoneinfo
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

SPRITE = "vendor/tabler-icons-3.51.0.svg"


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """Draw an icon of the sprite; it is decoration, the words beside it carry the meaning."""
    css = f"i {classes}" if classes else "i"
    return format_html(
        '<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', css, static(SPRITE), name
    )


def zone_of(name: str | None) -> dt.tzinfo:
    """Return the named zone, UTC where none is named or the name is unknown."""
    try:
        return zoneinfo.ZoneInfo(name) if name else dt.UTC
    except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError):
        return dt.UTC


def _clock(moment: dt.datetime, zone: str | None, seconds: bool) -> str:
    local = moment.astimezone(zone_of(zone))
    today = timezone.now().astimezone(zone_of(zone))
    day = f"{local.day} {local:%b}" if local.year == today.year else f"{local.day} {local:%b %Y}"
    return f"{local:%H:%M:%S}" if seconds else f"{day}, {local:%H:%M}"


@register.simple_tag
def when(moment: dt.datetime | None, zone: str | None = None, form: str = "") -> SafeString | str:
    """Print an instant in a site's zone, "20 Nov, 02:00"; nothing known is a dash.

    ``form`` is "zone" (the zone's abbreviation behind it) or "seconds" (the time of day alone).
    """
    if moment is None:
        return "–"
    local = moment.astimezone(zone_of(zone))
    text = _clock(moment, zone, form == "seconds")
    if form == "zone":
        text = f"{text} {local:%Z}"
    full = f"{local.day} {local:%B %Y, %H:%M:%S} {zone or 'UTC'}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.astimezone(dt.UTC).isoformat(),
        full,
        text,
    )


@register.simple_tag
def age(moment: dt.datetime | None, words: str = "ago") -> SafeString | str:
    """Print how long ago an instant was, "6 h ago"; portal.js keeps it true while the page is open.

    ``words`` is "ago" (behind the number) or anything else that goes before it ("queued"); "in"
    says how far ahead it is.
    """
    if moment is None:
        return "–"
    past = (timezone.now() - moment).total_seconds()
    text = since(-past if words == "in" else past)
    text = f"{text} ago" if words == "ago" else f"{words} {text}"
    return format_html(
        '<time data-age="{}" datetime="{}">{}</time>',
        words,
        moment.astimezone(dt.UTC).isoformat(),
        text,
    )


def since(seconds: float) -> str:
    """Say a span of time in its largest unit: "40 s", "18 min", "6 h", "8 d"."""
    seconds = max(0, seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


@register.filter
def duration(seconds: float | dt.timedelta | None) -> str:
    """Say a duration: "34 s", "1 min 48 s", "2 h 05 min"; nothing known is a dash."""
    if seconds is None:
        return "–"
    if isinstance(seconds, dt.timedelta):
        seconds = seconds.total_seconds()
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    hours, rest = divmod(whole, 3600)
    return f"{hours} h {rest // 60:02d} min" if rest else f"{hours} h"


@register.filter
def zone_name(zone: str | None) -> str:
    """Name a zone with what its clocks show now: "Europe/Berlin (CET)"."""
    name = zone or "UTC"
    short = f"{timezone.now().astimezone(zone_of(zone)):%Z}"
    return name if short == name else f"{name} ({short})"


@register.filter
def zone_short(zone: str | None) -> str:
    """Give what a zone's clocks show now: "CET"."""
    return f"{timezone.now().astimezone(zone_of(zone)):%Z}"


@register.filter
def many(number: int, noun: str) -> str:
    """Count a noun: 0 runs, 1 run, 1,204 runs; ``noun`` may give its plural after a comma."""
    one, _, more = noun.partition(",")
    return f"{number:,} {one if number == 1 else more or one + 's'}"


@register.filter
def size(number: int | None) -> str:
    """Say a number of bytes in decimal units: 312 B, 4.1 kB, 12 MB."""
    if number is None:
        return "–"
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.1f} {unit}" if amount < 10 and unit != "B" else f"{amount:.0f} {unit}"


@register.filter
def initials(name: str) -> str:
    """Take at most two first letters of a name for its avatar."""
    parts = name.split()
    letters = parts[0][:2] if len(parts) == 1 else "".join(part[0] for part in parts[:2])
    return letters.upper()


@register.filter
def get(mapping: dict[Any, Any], key: Any) -> Any:
    """Look a key up that is itself a variable."""
    return mapping.get(key)


@register.simple_tag(takes_context=True)
def can(context: template.Context, action: str, obj: Any) -> bool:
    """Say whether the viewer may do ``action`` to ``obj``.

    The view put the answers of the policy for the whole page into ``permitted`` (object's key to
    the set of its actions); what is not in there is not allowed. No query is made here.
    """
    answers = context.get("permitted") or {}
    return action in answers.get(getattr(obj, "pk", obj), ())


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """Give this page's query string with some parameters changed; None or "" drops one."""
    params = context["request"].GET.copy()
    for name in ("rows", "cursor"):
        params.pop(name, None)
    for name, value in changes.items():
        if value in (None, ""):
            params.pop(name, None)
        else:
            params[name] = value
    text = params.urlencode()
    return f"?{text}" if text else "?"
