"""What a rule says when it must refuse: a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError


class Refused(Exception):
    """A rule refuses. Rolls back, and a door answers it as problem JSON or as a note on the page.

    `status` is the HTTP status that fits (409 wrong state, 422 understood but invalid …), `more`
    goes into the answer beside the code, such as the stored length of a log.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 409,
        errors: dict[str, list[str]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.errors = errors
        self.more = more


def words_of(error: Exception) -> str:
    """Say what failed; a database's error may quote a row, which not everybody may read."""
    if isinstance(error, DatabaseError):
        return "the database refused it, and the portal's log says why"
    return str(error)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: dict[str, list[str]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Shape an error as RFC 9457 problem JSON."""
    body: dict[str, Any] = {
        "type": f"urn:yardmaster:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return body | more
