"""Access: declared once in tables, asked everywhere."""

from .grants import (
    OBJECT_ROLES,
    VERBS,
    Grants,
    grantable,
    grants_of,
    roles_of,
    roles_on,
    set_role,
    withdraw_roles,
)
from .policy import (
    ADMINISTRATOR,
    EVERY,
    MANAGER,
    Policy,
    Rule,
    by_grant,
    by_person,
    by_role,
    superuser,
)

__all__ = [
    "ADMINISTRATOR",
    "EVERY",
    "MANAGER",
    "OBJECT_ROLES",
    "VERBS",
    "Grants",
    "Policy",
    "Rule",
    "by_grant",
    "by_person",
    "by_role",
    "grantable",
    "grants_of",
    "roles_of",
    "roles_on",
    "set_role",
    "superuser",
    "withdraw_roles",
]
