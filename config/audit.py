"""Which models' changes are recorded, without their secrets and signs of life.

Runs, Events and presence are not here: they are records themselves, and change too often.
"""

from auditlog.registry import auditlog
from django.apps import apps

# Model → the fields that are left out. A test walks all fields for what looks like a secret.
AUDITED: dict[str, tuple[str, ...]] = {
    "sites.Organization": (),
    "sites.Membership": (),
    "sites.Invitation": ("token_hash",),
    "sites.Team": (),
    "sites.Site": (),
    # Settings may hold passwords; the accepted snapshot changes with every backup.
    "sites.Target": ("settings", "accepted_snapshot"),
    "sites.Credential": ("sealed",),
    "sites.AccessToken": ("token_hash", "last_used_at"),
    # Version, platform and address are what the program says of itself at each start.
    "agents.Agent": (
        "token_hash",
        "next_token_hash",
        "version",
        "platform",
        "address",
        "enrolled_at",
    ),
    "agents.AgentPool": (),
    # Parameters may hold what their schema marks as secret; which version they fit is no choice.
    "jobs.Job": ("parameters", "updated_at", "checked_version"),
}
_MANY = {"agents.AgentPool": {"agents"}}


def register() -> None:
    """Let auditlog record the changes of these models in every process that makes them."""
    for label, left_out in AUDITED.items():
        auditlog.register(
            apps.get_model(label),
            exclude_fields=list(left_out),
            m2m_fields=_MANY.get(label, set()),
        )
