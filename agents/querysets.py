"""Which agents and queues: chainable adjectives."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from sites import pauses
from sites.querysets import PAUSED

if TYPE_CHECKING:
    from .models import Agent  # noqa: F401 - named in quotes below

# No sign of life for this long, and people read "Disconnected".
SILENCE = timedelta(seconds=60)
# That an agent is given nothing new: it drains, or its pause lasts.
TAKES_NONE = Q(draining=True) | PAUSED


def takes_none(alias: str) -> str:
    """Say TAKES_NONE for a hand-written statement; never null."""
    return f"({alias}.draining OR {pauses.lasting(alias)})"


class AgentQuerySet(models.QuerySet["Agent"]):
    """Agents; `with_state` says what people read."""

    def in_use(self) -> AgentQuerySet:
        """Those that were not retired."""
        return self.filter(retired_at__isnull=True)

    def with_state(self) -> AgentQuerySet:
        """Add `state`, by the database's clock: the first of these that holds."""
        return self.annotate(
            seen_at=F("presence__seen_at"),
            state=Case(
                When(retired_at__isnull=False, then=Value("retired")),
                When(presence__isnull=True, then=Value("setting_up")),
                When(presence__seen_at__lt=Now() - SILENCE, then=Value("disconnected")),
                When(TAKES_NONE, then=Value("draining")),
                default=Value("active"),
                output_field=models.CharField(),
            ),
        )
