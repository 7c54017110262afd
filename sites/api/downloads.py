"""How bytes that came from outside leave again: as a download that no browser opens as a page.

Where the storage can send a file itself, people are given its address there, for a minute. Agents
are not: behind their firewalls they reach the portal alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from django.core.files import File
from django.core.files.storage import default_storage
from django.http import (
    Http404,
    HttpRequest,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse

from ..problems import problem
from ..storage import BYTES, download_address

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=HttpResponseBase)
# The answers of a download, for the schema.
DOWNLOAD: dict[Any, Any] = {
    (200, BYTES): OpenApiTypes.BINARY,
    (206, BYTES): OpenApiResponse(OpenApiTypes.BINARY, description="The range asked for."),
    302: OpenApiResponse(description="The file's address at its storage, for a minute."),
}
_PIECE = 64 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_SANDBOX = "sandbox; default-src 'none'"


def download(pieces: Iterable[bytes], *, name: str, size: int | None) -> StreamingHttpResponse:
    """Send pieces as an attachment; never whole in memory."""
    answer = StreamingHttpResponse(pieces, content_type=BYTES)
    if size is not None:
        answer["Content-Length"] = str(size)
    return _guarded(answer, name)


def download_stored(
    request: HttpRequest, storage_name: str, *, name: str, through_portal: bool = False
) -> HttpResponseBase:
    """Send a stored file as an attachment, or to where the storage does so itself.

    `Range` is obeyed, so that a download that broke off can go on.
    """
    if not through_portal and (address := download_address(storage_name, filename=name)):
        answer = HttpResponseRedirect(address)
        answer["Cache-Control"] = "private, no-store"
        return answer
    try:
        file = default_storage.open(storage_name)
    except FileNotFoundError:
        log.error("The file storage has lost %s.", storage_name)
        raise Http404 from None
    wanted = _asked(request, file)
    if not wanted and file.size:
        file.close()
        words = f"The file ends after {file.size} bytes."
        none = JsonResponse(
            problem(416, "range_beyond_end", words, length=file.size),
            status=416,
            content_type="application/problem+json",
        )
        none["Content-Range"] = f"bytes */{file.size}"
        return none
    sent = download(_Part(file, wanted), name=name, size=len(wanted))
    sent["Accept-Ranges"] = "bytes" if file.seekable() else "none"
    if len(wanted) < file.size:
        sent.status_code = 206
        sent["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{file.size}"
    return sent


class _Part:
    """Some bytes of a file in pieces; the answer that sends them closes it."""

    def __init__(self, file: File, wanted: range) -> None:
        self.file, self.wanted = file, wanted

    def __iter__(self) -> Iterator[bytes]:
        if self.wanted.start:
            self.file.seek(self.wanted.start)
        left = len(self.wanted)
        while left and (piece := self.file.read(min(_PIECE, left))):
            left -= len(piece)
            yield piece

    def close(self) -> None:
        self.file.close()


def _asked(request: HttpRequest, file: File) -> range:
    """Read which bytes are wanted, none of them where the range lies behind the end.

    A range that is none is passed over, as the standard says; `If-Range` needs a tag of the file,
    which there is none of. Then all is sent.
    """
    everything = range(file.size)
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    if not found or "If-Range" in request.headers or not file.seekable():
        return everything
    first, last = found.groups()
    if first:
        if last and int(last) < int(first):
            return everything
        return everything[int(first) : int(last) + 1 if last else None]
    return everything[max(0, file.size - int(last)) :] if last else everything


def _guarded(answer: Answer, name: str) -> Answer:
    answer["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = _SANDBOX
    answer["Cache-Control"] = "private, no-store"
    return answer
