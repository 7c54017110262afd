"""Where a person's files wait until a run is started with them, and how large they may be."""

from __future__ import annotations

from uuid import UUID

from . import files, quota
from .models import User

CHUNK_LIMIT = 8 * 1024 * 1024
FILE_LIMIT = 5 * 1024**3


def folder_of(user: User) -> str:
    """Name the person's staging folder: nobody else's upload can be named from it."""
    return f"person-{user.public_id}"


def stage(user: User, upload: UUID, *, offset: int, stream: files.Readable, announced: int) -> int:
    """Take a piece of a person's file and give how much is here.

    `announced` is the length that the request says it has. Which organization the file is for is
    known when a run is started with it; what fits in none of the person's is refused unread.
    """
    quota.require_room_somewhere(user, offset + announced)
    return files.append(
        folder_of(user), upload, offset, stream, limit=CHUNK_LIMIT, max_size=FILE_LIMIT
    )
