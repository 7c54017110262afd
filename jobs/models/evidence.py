"""What a run was given and what it left: inputs, log, files, records, late reports."""

import uuid

from django.db import models
from django.db.models.functions import Now

from agents.models import Agent

from .run import JobRun


class RunInput(models.Model):
    """A file that the run was given; for its starter and the claiming agent alone."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    run = models.ForeignKey(JobRun, on_delete=models.CASCADE, related_name="inputs")
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=120)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=300)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        ordering = ["id"]
        # The sweep asks which stored files belong to a run.
        indexes = [models.Index(fields=["storage_name"], name="input_by_stored_name")]

    def __str__(self) -> str:
        return self.name


class RunFile(models.Model):
    """A file that the run left: a log, a report, an artifact. Its blob exists before the row."""

    # The id that the agent made for the upload: sending it again is the same file.
    public_id = models.UUIDField()
    run = models.ForeignKey(JobRun, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=120)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=300)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["run", "public_id"], name="run_file_once")]

    def __str__(self) -> str:
        return self.name


class RunLog(models.Model):
    """A piece of the run's log, with secrets masked; pieces follow each other without a gap."""

    run = models.ForeignKey(JobRun, on_delete=models.CASCADE, related_name="log", db_index=False)
    offset = models.PositiveBigIntegerField()  # in bytes as sent
    size = models.PositiveIntegerField()  # in bytes as sent
    # Of the text as sent: the same piece again is no error.
    sha256 = models.CharField(max_length=64)
    text = models.TextField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        ordering = ["run", "offset"]
        constraints = [models.UniqueConstraint(fields=["run", "offset"], name="run_log_offset")]

    def __str__(self) -> str:
        return f"{self.run_id} +{self.offset}"


class RunRecord(models.Model):
    """One processed item, such as an invoice."""

    class Status(models.TextChoices):
        SUCCESS = "success", "Success"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"

    run = models.ForeignKey(
        JobRun, on_delete=models.CASCADE, related_name="records", db_index=False
    )
    sequence = models.PositiveIntegerField()
    record_id = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=300, blank=True)
    status = models.CharField(max_length=8, choices=Status)
    result = models.TextField(blank=True)
    error = models.TextField(blank=True)
    processed_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ["run", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["run", "sequence"], name="run_record_sequence")
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.name}"


class Pruned(models.Model):
    """That something of a run is gone because its organization keeps it no longer."""

    class What(models.TextChoices):
        LOG = "log", "log"
        FILES = "files", "files"
        INPUTS = "inputs", "inputs"

    run = models.ForeignKey(JobRun, on_delete=models.CASCADE, related_name="pruned", db_index=False)
    what = models.CharField(max_length=6, choices=What)
    after_days = models.PositiveIntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["run", "what"], name="pruned_once")]

    def __str__(self) -> str:
        return f"{self.what} of {self.run_id}"


class LateReport(models.Model):
    """What an agent reported after its run had ended: shown, and changing nothing."""

    run = models.ForeignKey(JobRun, on_delete=models.CASCADE, related_name="late_reports")
    attempt = models.PositiveIntegerField()
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    report = models.JSONField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["run", "attempt"], name="late_report_once")]

    def __str__(self) -> str:
        return f"late report of attempt {self.attempt}"
