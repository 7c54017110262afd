"""How an agent's state looks: icon, words and colour, always all three."""

from typing import Any

from django import template

register = template.Library()

# state → (look, icon, words)
STATES = {
    "active": ("green", "plug-connected", "Active"),
    "disconnected": ("orange", "wifi-off", "Disconnected"),
    "setting_up": ("grey", "circle-dashed", "Setting Up"),
    "draining": ("blue", "progress-down", "Draining"),
    "retired": ("grey", "archive", "Retired"),
}


@register.inclusion_tag("components/state.html")
def agent_state(state: str) -> dict[str, Any]:
    """Draw the state of an agent, as `with_state` names it."""
    look, icon, words = STATES[state]
    return {"look": look, "icon": icon, "words": words}
