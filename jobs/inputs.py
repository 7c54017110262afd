"""Which files a run is given, and how they become its own: the blob first, then the row.

A blob that got no row, since the start was refused or broke off, is swept when it is a day old.
One that is older than half a day is given to no run any more, so the two never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from itertools import islice
from uuid import UUID

from django.core.files.storage import default_storage

from agents import catalogue
from agents.models import Function
from sites import files, quota, uploads
from sites.models import Organization, User
from sites.problems import Refused
from sites.storage import stored_below

from .models import RunInput

MOST = 100
GIVEN_FOR = timedelta(hours=12)
KEPT_FOR = timedelta(hours=24)
_ROOT = "inputs"


@dataclass(frozen=True, slots=True)
class Given:
    """A file that the person has uploaded, as they describe it."""

    upload: UUID
    name: str
    media_type: str
    size: int
    sha256: str


def keep(
    given: Sequence[Given],
    *,
    by: User,
    organization: Organization,
    function: Function,
    version: str = "",
) -> list[RunInput]:
    """Close the person's uploads and give the inputs, for the rule that makes the run to store.

    Refused 422 by field: a function that takes no such files, an upload that is not what was said
    of it. Sending the same again after a lost answer gives the same files.
    """
    if not given:
        return []
    known = catalogue.newest_version(function, version)
    takes = known.takes if known else []
    for number, one in enumerate(given):
        if not any(fnmatch(one.media_type.lower(), pattern.lower()) for pattern in takes):
            words = (
                f"{function} takes {', '.join(takes)}, not {one.media_type}."
                if takes
                else f"{function} takes no files."
            )
            errors = {f"inputs.{number}.media_type": [words]}
            raise Refused("invalid", words, status=422, errors=errors)
    return [_close(one, number, by, organization) for number, one in enumerate(given)]


def _close(one: Given, number: int, by: User, organization: Organization) -> RunInput:
    # The hash is in the name: the same upload id with other bytes never replaces these.
    name = f"{_ROOT}/{organization.public_id}/{by.public_id}/{one.upload}-{one.sha256}"
    quota.require_room(organization.pk, one.size, name=name)
    try:
        stored = files.close(
            uploads.folder_of(by), one.upload, name=name, size=one.size, sha256=one.sha256
        )
    except files.UploadError as error:
        errors = {f"inputs.{number}.upload": [str(error)]}
        raise Refused(error.code, str(error), status=422, errors=errors) from None
    if default_storage.get_modified_time(stored) < datetime.now(UTC) - GIVEN_FOR:
        words = "This file was sent too long ago: send it again."
        errors = {f"inputs.{number}.upload": [words]}
        raise Refused("nothing_staged", words, status=422, errors=errors)
    quota.count_in(organization.pk, stored, one.size)
    return RunInput(
        name=one.name,
        media_type=one.media_type,
        size=one.size,
        sha256=one.sha256,
        storage_name=stored,
    )


def sweep() -> int:
    """Throw away the files, a day old, that no run was given; give their number."""
    before, swept = datetime.now(UTC) - KEPT_FOR, 0
    old = (one.name for one in stored_below(_ROOT) if one.modified < before)
    while names := list(islice(old, 500)):
        known = RunInput.objects.filter(storage_name__in=names)
        lost = set(names).difference(known.values_list("storage_name", flat=True))
        quota.count_out(lost)
        for name in lost:
            default_storage.delete(name)
        swept += len(lost)
    return swept
