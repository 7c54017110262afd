"""The one stream that live pages, notifications, webhooks and statistics read."""

import uuid

from django.db import models
from django.db.models.functions import Now


class Event(models.Model):
    """One thing that happened, append-only, written in the transaction that made it happen.

    It carries everything that decides who may hear of it (organization, site, target, starter),
    so that a reader needs no query per listener. Plain ids instead of foreign keys to what changes
    often: an insert then checks nothing and locks nothing.
    """

    organization_id = models.BigIntegerField()
    site_id = models.BigIntegerField(null=True)
    target_id = models.BigIntegerField(null=True)
    starter_id = models.BigIntegerField(null=True)
    kind = models.CharField(max_length=40)  # run.pending, run.completed, agent.lost, access.changed
    subject_id = models.UUIDField(default=uuid.uuid4)  # the public id of the run, agent, user …
    data = models.JSONField(default=dict)  # small: what a row needs besides the subject
    at = models.DateTimeField(db_default=Now())
    fanned_out_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(
                fields=["id"],
                condition=models.Q(fanned_out_at__isnull=True),
                name="event_not_fanned_out",
            ),
            models.Index(fields=["subject_id", "id"], name="event_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"
