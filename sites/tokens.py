"""What a bearer token looks like, and what of it is stored.

`ym_<kind>_<public id, 32 hex digits>_<43 characters>_<CRC-32, 8 hex digits>`: the check sum lets
secret scanners and ourselves refuse a mistyped one without a query; only SHA-256 is stored.
"""

import hashlib
import secrets
import zlib
from uuid import UUID


def make(kind: str, public_id: UUID) -> tuple[str, str]:
    """Make a token for `kind` (`agent` or `user`): the token, shown once, and the hash to store."""
    body = f"ym_{kind}_{public_id.hex}_{secrets.token_urlsafe(32)}"
    token = f"{body}_{zlib.crc32(body.encode()):08x}"
    return token, hashed(token)


def hashed(token: str) -> str:
    """Give the SHA-256 of a token or code; it has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def public_id_in(kind: str, token: str) -> UUID | None:
    """Read the public id in a well-formed token of this kind; None for anything else."""
    prefix = f"ym_{kind}_"
    body, _, check = token.rpartition("_")
    if not token.isascii() or not body.startswith(prefix) or len(body) != len(prefix) + 32 + 1 + 43:
        return None
    if f"{zlib.crc32(body.encode()):08x}" != check:
        return None
    try:
        return UUID(hex=body[len(prefix) : len(prefix) + 32])
    except ValueError:
        return None


def matches(token: str, stored_hash: str) -> bool:
    """Compare in constant time."""
    return bool(stored_hash) and secrets.compare_digest(hashed(token), stored_hash)
