"""The portal of `manage.py up` with short leases and gaps, for a test that stops it for longer.

`hurry` makes them short in this process too, whose sweeps are the worker's.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

LEASE_S, HEARTBEAT_S, NOTED_EVERY_S = 4, 0.5, 0.3
# Long, for a machine that is busy: whoever lives has come back by then.
GAP_S, EXCUSED_FOR_S, GRACE_S = 2, 10, 1

# Each module has its own name for it.
SHORT: dict[str, dict[str, float]] = {
    "agents.api.agent": {"LEASE_S": LEASE_S, "HEARTBEAT_S": HEARTBEAT_S},
    "jobs.api.agent.runs": {"LEASE_S": LEASE_S, "HEARTBEAT_S": HEARTBEAT_S},
    "jobs.transitions": {"LEASE_S": LEASE_S},
    "jobs.dispatch": {"LEASE_S": LEASE_S},
    "jobs.beats": {"LEASE_S": LEASE_S},
    "jobs.sweeps": {"LEASE_S": LEASE_S, "BEAT_S": HEARTBEAT_S},
    "jobs.leases": {"GRACE_S": GRACE_S},
    "sites.pulse": {"GAP_S": GAP_S, "EXCUSED_FOR_S": EXCUSED_FOR_S},
}


def hurry(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make them short by `put`, such as a monkeypatch's."""
    # All of them first: one that is loaded here for the first time copies what another has by then.
    modules = [(import_module(name), names) for name, names in SHORT.items()]
    for module, names in modules:
        for name, value in names.items():
            put(module, name, value)


def application() -> Any:
    """Make the ASGI application of a portal that is in a hurry."""
    from django.conf import settings

    from config.asgi import application as portal

    settings.SERVING_NOTED_EVERY_S = NOTED_EVERY_S
    hurry()
    return portal
