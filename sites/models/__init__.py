"""The tables of what exists without any job."""

from .credential import Credential
from .event import Event
from .grants import (
    SiteGroupPermission,
    SiteUserPermission,
    TargetGroupPermission,
    TargetUserPermission,
)
from .invitation import Invitation, InvitedRole, ObjectRole
from .organization import Membership, Organization, Role, User
from .pause import Pausable
from .place import Site, Target
from .pulse import Pulse
from .snapshot import Snapshot
from .storage import StorageUse, StoredFile
from .team import Team
from .token import AccessToken, IdempotencyKey

__all__ = [
    "AccessToken",
    "Credential",
    "Event",
    "IdempotencyKey",
    "Invitation",
    "InvitedRole",
    "Membership",
    "ObjectRole",
    "Organization",
    "Pausable",
    "Pulse",
    "Role",
    "Site",
    "SiteGroupPermission",
    "SiteUserPermission",
    "Snapshot",
    "StorageUse",
    "StoredFile",
    "Target",
    "TargetGroupPermission",
    "TargetUserPermission",
    "Team",
    "User",
]
