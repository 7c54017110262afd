"""Where a person's files wait until a run is started with them, and how large they may be."""

from __future__ import annotations

from .models import User

CHUNK_LIMIT = 8 * 1024 * 1024
FILE_LIMIT = 5 * 1024**3


def folder_of(user: User) -> str:
    """Name the person's staging folder: nobody else's upload can be named from it."""
    return f"person-{user.public_id}"
