"""What may be paused: a job, a site or an agent, until a time, for a reason."""

from datetime import datetime

from django.db import models
from django.utils import timezone

from .organization import User

LONGEST_REASON = 300


class Pausable(models.Model):
    """Has a pause that ends by itself: the columns stay as they are once the time is over."""

    paused_until = models.DateTimeField(null=True, blank=True, editable=False)
    pause_reason = models.CharField(
        max_length=LONGEST_REASON, blank=True, default="", db_default="", editable=False
    )
    paused_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    at: datetime  # the database's time, where `sites/pauses.py` has read the row

    class Meta:
        abstract = True

    @property
    def is_paused(self) -> bool:
        """Whether the pause lasts, for people to read; what agents are given asks the database."""
        return self.paused_until is not None and self.paused_until > timezone.now()
