"""Which sites, and which pauses last: chainable adjectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

if TYPE_CHECKING:
    from .models import Site  # noqa: F401 - named in quotes below

# That the pause of a row lasts, by the database's clock; in a hand-written statement
# `pauses.lasting` says it.
PAUSED = Q(paused_until__gt=Now())


class SiteQuerySet(models.QuerySet["Site"]):
    """Sites."""

    def in_use(self) -> SiteQuerySet:
        """Those that were not archived."""
        return self.filter(archived_at__isnull=True)

    def paused(self) -> SiteQuerySet:
        """Those whose pause lasts."""
        return self.filter(PAUSED)
