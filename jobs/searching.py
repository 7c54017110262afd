"""Finds runs by part of a name or the beginning of an id, however many runs there are.

A part of a name cannot be looked up in an index, but names repeat: those of an organization's runs
are read once each, along an index, and then the runs by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from uuid import UUID

from django.db.models import CharField, F, Func, Q
from django.db.models.lookups import GreaterThan

from sites import sql
from sites.sql import Sql

_ID_START = re.compile(r"[0-9a-f]{4,32}")
# Where there are more names than that, or a text is in more of them, runs are read one by one:
# then the text is likely to be found soon.
MOST_NAMES = 10_000
MOST_FOUND = 500

# Each step of it is one look into the index `run_of_name`: an organization's next greater name.
_NAMES = """
    WITH RECURSIVE known(organization_id, name) AS (
        SELECT one.id, (SELECT MIN(name) FROM jobs_jobrun WHERE organization_id = one.id)
        FROM sites_organization AS one WHERE {organizations}
        UNION ALL
        SELECT organization_id, (
            SELECT MIN(run.name) FROM jobs_jobrun AS run
            WHERE run.organization_id = known.organization_id AND run.name > known.name
        ) FROM known WHERE name IS NOT NULL
    ) SELECT name FROM known WHERE name IS NOT NULL LIMIT %s
"""


def ids_from(prefix: str) -> tuple[UUID, UUID] | None:
    """Give the smallest and the largest id that begin so; None where no id can."""
    digits = prefix.lower().replace("-", "")
    if not _ID_START.fullmatch(digits):
        return None
    return UUID(hex=digits.ljust(32, "0")), UUID(hex=digits.ljust(32, "f"))


def runs_with(text: str, organizations: Collection[int]) -> Q:
    """Say which runs of these organizations a text finds, in any case of its letters.

    An external id is compared letter for letter. Where names are read one by one, SQLite knows
    upper and lower case of ASCII alone.
    """
    found = _begins_external_id(text)
    if ids := ids_from(text):
        found |= Q(public_id__range=ids)
    names = names_with(text, organizations)
    found |= Q(name__icontains=text) if names is None else Q(name__in=names)
    # The indexes begin with the organization, which whoever sees one site has not named.
    return Q(organization__in=organizations) & found


def names_with(text: str, organizations: Collection[int]) -> list[str] | None:
    """Give the names of runs that a text is in; None where those are too many to read."""
    among = sql.one_of("one.id", organizations)
    statement = _NAMES.format(organizations=among.text)
    known = sql.rows(Sql(statement, (*among.params, MOST_NAMES + 1))) if organizations else []
    if len(known) > MOST_NAMES:
        return None
    part = text.lower()
    names = sorted({name for (name,) in known if part in name.lower()})
    return names if len(names) <= MOST_FOUND else None


def _begins_external_id(text: str) -> Q:
    # The condition of the index, spelled as it is there: as a parameter neither database knows it.
    is_one = GreaterThan(F("external_id"), Func(template="''", output_field=CharField()))
    if sql.on_postgresql():
        return Q(is_one, external_id__startswith=text)
    # SQLite asks no index for LIKE.
    return Q(is_one, external_id__gte=text, external_id__lt=text + chr(0x10FFFF))
