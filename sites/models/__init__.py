"""The tables of what exists without any job."""

from .credential import Credential
from .event import Event
from .grants import (
    SiteGroupPermission,
    SiteUserPermission,
    TargetGroupPermission,
    TargetUserPermission,
)
from .organization import Membership, Organization, Role, User
from .place import Site, Target
from .snapshot import Snapshot
from .storage import StorageUse, StoredFile
from .token import AccessToken, IdempotencyKey

__all__ = [
    "AccessToken",
    "Credential",
    "Event",
    "IdempotencyKey",
    "Membership",
    "Organization",
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
    "User",
]
