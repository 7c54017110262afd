"""Finds runs by part of a name or the beginning of an id, however many runs there are.

A part of a name cannot be looked up in an index, but names repeat: those of an organization's runs
are read once each, along an index, and then the runs by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from sites import sql
from sites.sql import Sql

_ID_START = re.compile(r"[0-9a-f]{4,32}")
# An organization with more names than that, or a text that is in more names, is read run by run:
# then the text is likely to be found soon.
MOST_NAMES = 10_000
MOST_FOUND = 500

# Each step of it is one look into the index `run_of_name`: the next greater name.
_NAMES = """
    WITH RECURSIVE known(organization_id, name, number) AS (
        SELECT one.id, (
            SELECT MIN(name) FROM jobs_jobrun WHERE organization_id = one.id
        ), 1 FROM sites_organization AS one WHERE {organizations}
        UNION ALL
        SELECT organization_id, (
            SELECT MIN(run.name) FROM jobs_jobrun AS run
            WHERE run.organization_id = known.organization_id AND run.name > known.name
        ), number + 1 FROM known WHERE name IS NOT NULL AND number <= %s
    ) SELECT name, number FROM known WHERE name IS NOT NULL
"""


def ids_from(prefix: str) -> tuple[UUID, UUID] | None:
    """Give the smallest and the largest id that begin so; None where no id can."""
    digits = prefix.lower().replace("-", "")
    if not _ID_START.fullmatch(digits):
        return None
    return UUID(hex=digits.ljust(32, "0")), UUID(hex=digits.ljust(32, "f"))


def runs_with(text: str, organizations: Iterable[int]) -> Q:
    """Say which runs of these organizations a text finds."""
    # The second half is the index's own condition.
    found = Q(external_id__startswith=text, external_id__gt="")
    if ids := ids_from(text):
        found |= Q(public_id__range=ids)
    names = _names_with(text, organizations)
    return found | (Q(name__icontains=text) if names is None else Q(name__in=names))


def _names_with(text: str, organizations: Iterable[int]) -> list[str] | None:
    """Give the names of runs that a text is in; None where that are too many to read."""
    among = sql.one_of("one.id", organizations)
    known = sql.rows(Sql(_NAMES.format(organizations=among.text), (*among.params, MOST_NAMES)))
    if any(number > MOST_NAMES for _, number in known):
        return None
    part = text.casefold()
    names = sorted({name for name, _ in known if part in name.casefold()})
    return names if len(names) <= MOST_FOUND else None
