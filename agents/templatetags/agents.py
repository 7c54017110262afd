"""How an agent's state looks: icon, words and colour, always all three."""

from datetime import datetime, timedelta
from typing import Any

from django import template

from agents.presence import DAY, Day

register = template.Library()

# state → (look, icon, words)
STATES = {
    "active": ("green", "plug-connected", "Active"),
    "disconnected": ("orange", "wifi-off", "Disconnected"),
    "setting_up": ("grey", "circle-dashed", "Setting Up"),
    "draining": ("blue", "progress-down", "Draining"),
    "retired": ("grey", "archive", "Retired"),
}


DAY_WIDTH = 150
NARROWEST = 3.0


@register.inclusion_tag("agents/day.html")
def agent_day(day: Day) -> dict[str, Any]:
    """Draw the last 24 hours: when it was heard of, and each gap, however short."""

    def at(moment: datetime) -> float:
        return round((moment - day.since) / DAY * DAY_WIDTH, 1)

    gaps = []
    for begun, ended in day.gaps:
        width = max(NARROWEST, at(ended) - at(begun))
        gaps.append({"x": min(at(begun), DAY_WIDTH - width), "width": width})
    number = f"{len(gaps)} gap{'' if len(gaps) == 1 else 's'}" if gaps else "no gap"
    silent = sum((ended - begun for begun, ended in day.gaps), timedelta())
    minutes = max(1, round(silent.total_seconds() / 60))
    words = f"{number} in 24 hours" + (f", {minutes:,} min in all" if gaps else "")
    begun_at = at(day.begun)
    return {
        "width": DAY_WIDTH,
        "begun": begun_at,
        "known": DAY_WIDTH - begun_at,
        "gaps": gaps,
        "words": words,
    }


@register.inclusion_tag("components/state.html")
def agent_state(state: str) -> dict[str, Any]:
    """Draw the state of an agent, as `with_state` names it."""
    look, icon, words = STATES[state]
    return {"look": look, "icon": icon, "words": words}
