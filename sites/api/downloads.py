"""How bytes that came from outside leave again: as a download that no browser opens as a page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from django.core.files.storage import default_storage
from django.http import FileResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

Answer = TypeVar("Answer", bound=HttpResponseBase)
_SANDBOX = "sandbox; default-src 'none'"


def download(pieces: Iterable[bytes], *, name: str, size: int | None) -> StreamingHttpResponse:
    """Send pieces as an attachment; never whole in memory."""
    answer = StreamingHttpResponse(pieces, content_type="application/octet-stream")
    if size is not None:
        answer["Content-Length"] = str(size)
    return _guarded(answer, name)


def download_stored(storage_name: str, *, name: str) -> FileResponse:
    """Send a stored file as an attachment."""
    answer = FileResponse(
        default_storage.open(storage_name), content_type="application/octet-stream"
    )
    return _guarded(answer, name)


def _guarded(answer: Answer, name: str) -> Answer:
    answer["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = _SANDBOX
    answer["Cache-Control"] = "private, no-store"
    return answer
