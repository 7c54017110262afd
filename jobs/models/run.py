"""One execution, its claims and its status history."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.models import Agent, AgentPool, Assignment, Function, Queue
from sites.models import Credential, Organization, Site, Snapshot, Target, User

from ..querysets import DURATION, FINISHED, STARTED, RunQuerySet
from ..states import ACTIVE, EXECUTING, FINAL, Origin, Reason, Result, Status
from .job import Job
from .schedule import Occurrence
from .words import WordField


def statuses(group: frozenset[Status]) -> list[str]:
    """Spell a group in a stable order, so that migrations do not change by chance."""
    return [str(status) for status in Status if status in group]


class Claim(models.Model):
    """One agent's taking of one or more runs."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="claims")
    claim_id = models.UUIDField()
    # [[run id, attempt], …]: written once with the claim, so that it can be answered again.
    runs = models.JSONField(default=list)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["agent", "claim_id"], name="claim_once")]

    def __str__(self) -> str:
        return str(self.claim_id)


class JobRun(models.Model):
    """One execution; ad hoc runs have no job. Its public id is the job id of the five systems."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    site = models.ForeignKey(
        Site, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    target = models.ForeignKey(
        Target, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    job = models.ForeignKey(
        Job, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    function = models.ForeignKey(
        Function, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    version = models.CharField(max_length=40, blank=True)  # asked for; empty: any
    actual_version = models.CharField(max_length=40, blank=True)  # of the agent that took it
    queue = models.ForeignKey(
        Queue, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    # Started with its site's schedule: it enters its queue when its turn comes.
    in_turn = models.BooleanField(default=False, db_default=False)
    next_queue = models.ForeignKey(
        Queue, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    priority = models.SmallIntegerField(default=0)  # smaller goes first
    overlap = models.BooleanField(default=False)
    # A backup: its result is the portal's verdict over a snapshot.
    makes_snapshot = models.BooleanField(default=False)
    auto_commit = models.BooleanField(default=True)
    describe_changes = models.BooleanField(default=False, db_default=False)
    describe_with_model = models.BooleanField(default=False, db_default=False)
    # Sealed, and the language model was not asked yet for its words.
    message_due = models.BooleanField(default=False, db_default=False)
    assignment = models.CharField(max_length=16, choices=Assignment, default=Assignment.AUTOMATIC)
    requested_agent = models.ForeignKey(
        Agent, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requested_pool = models.ForeignKey(
        AgentPool, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    started_by = models.ForeignKey(
        User, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    # The planned start that it is; none where a person started it.
    occurrence = models.OneToOneField(
        Occurrence, null=True, on_delete=models.SET_NULL, related_name="run"
    )
    retry_of = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="retries", db_index=False
    )
    # Which try it is, and how many may follow by themselves (jobs.retries).
    try_number = models.PositiveSmallIntegerField(default=1, db_default=1)
    tries_left = models.PositiveSmallIntegerField(default=0, db_default=0)
    # It ended badly, and the next try begins then; null again once that is made or dropped.
    retry_at = models.DateTimeField(null=True)
    # Why the next try was dropped.
    retry_note = models.CharField(max_length=300, blank=True, default="", db_default="")
    origin = models.CharField(max_length=8, choices=Origin, default=Origin.LOCAL)
    tool = models.CharField(max_length=60, blank=True)  # which tool: the list's Source column
    source_system = models.CharField(max_length=120, blank=True)
    target_system = models.CharField(max_length=120, blank=True)
    external_id = models.CharField(max_length=200, blank=True)
    robot = models.CharField(max_length=120, blank=True)
    type = models.CharField(max_length=60, blank=True)
    name = models.CharField(max_length=200, blank=True)  # of the job, or the function, when made
    parameters = models.JSONField(default=dict)
    # Set: the run may use what stands on its target; from the claim on, what it was given.
    credential = models.ForeignKey(
        Credential, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    tags = models.JSONField(default=list)
    data = models.JSONField(default=dict)

    # Who holds it
    status = WordField(max_length=12, choices=Status, default=Status.PENDING)
    sequence = models.PositiveIntegerField(default=1)  # of the newest transition
    attempt = models.PositiveIntegerField(default=0)
    claim = models.ForeignKey(
        Claim, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    agent = models.ForeignKey(
        Agent, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    lease_losses = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    run_timeout_s = models.PositiveIntegerField(default=3600)
    queue_until = models.DateTimeField(null=True)

    # What came of it
    result = WordField(max_length=12, choices=Result, blank=True)
    reason = models.CharField(max_length=20, choices=Reason, blank=True)
    message = models.TextField(blank=True)
    summary = models.TextField(blank=True)
    error = models.TextField(blank=True)
    progress = models.PositiveSmallIntegerField(null=True)
    count_total = models.PositiveIntegerField(null=True)
    count_successful = models.PositiveIntegerField(null=True)
    count_failed = models.PositiveIntegerField(null=True)
    count_skipped = models.PositiveIntegerField(null=True)
    base_snapshot = models.ForeignKey(
        Snapshot, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    snapshot = models.ForeignKey(
        Snapshot, null=True, on_delete=models.SET_NULL, related_name="runs", db_index=False
    )
    verdict = models.CharField(max_length=12, choices=Result, blank=True)
    report_hash = models.CharField(max_length=64, blank=True)  # of the result that ended it
    log_length = models.PositiveBigIntegerField(default=0)
    # Kept by a person's word, with all that it left (jobs.retention).
    pinned_at = models.DateTimeField(null=True)

    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())
    duration_s = models.FloatField(null=True)  # the tool's own, or finished − started

    objects = RunQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [
            # The claim: the head of each queue.
            models.Index(
                fields=["queue", "priority", "created_at", "id"],
                condition=Q(status="pending"),
                name="run_pending_in_queue",
            ),
            # The sweep, and what an agent holds. Leases and progress are in no index (HOT updates).
            models.Index(
                fields=["status", "id"], condition=Q(status__in=statuses(ACTIVE)), name="run_active"
            ),
            models.Index(
                # With the status, or SQLite would take `run_of_agent` and read all that it had.
                fields=["agent", "status"],
                condition=Q(status__in=statuses(EXECUTING)),
                name="run_held",
            ),
            # Whether a job is at work: asked at each start.
            models.Index(
                fields=["job"], condition=Q(status__in=statuses(ACTIVE)), name="run_active_of_job"
            ),
            models.Index(
                fields=["site"],
                condition=Q(in_turn=True, status__in=statuses(ACTIVE)),
                name="run_in_turn",
            ),
            models.Index(fields=["id"], condition=Q(message_due=True), name="run_message_due"),
            models.Index(
                fields=["retry_at"], condition=Q(retry_at__isnull=False), name="run_retry_due"
            ),
            # The tries that followed a run: few runs are one.
            models.Index(
                fields=["retry_of"], condition=Q(retry_of__isnull=False), name="run_retry_of"
            ),
            # The branches of a list: whole organization, granted site or target, own, of a job.
            models.Index(fields=["organization", "-created_at", "-id"], name="run_of_organization"),
            models.Index(fields=["site", "-created_at", "-id"], name="run_of_site"),
            models.Index(fields=["target", "-created_at", "-id"], name="run_of_target"),
            models.Index(fields=["started_by", "-created_at", "-id"], name="run_of_starter"),
            models.Index(fields=["job", "-created_at", "-id"], name="run_of_job"),
            # What a deletion asks: which runs still name the snapshot.
            models.Index(
                fields=["snapshot"], condition=Q(snapshot__isnull=False), name="run_of_snapshot"
            ),
            models.Index(
                fields=["base_snapshot"],
                condition=Q(base_snapshot__isnull=False),
                name="run_of_base",
            ),
            # The newest good backup of each target, without looking through what failed since.
            models.Index(
                fields=["target", "-created_at", "-id"],
                condition=Q(status="completed", makes_snapshot=True),
                name="run_backup_of_target",
            ),
            # The newest run of each job, for a manager: of those that they started themselves.
            models.Index(
                fields=["job", "started_by", "-created_at", "-id"], name="run_of_job_by_starter"
            ),
            models.Index(fields=["agent", "-created_at", "-id"], name="run_of_agent"),
            # The search: distinct names, then the runs with them; external ids by their beginning.
            models.Index(fields=["organization", "name"], name="run_of_name"),
            models.Index(
                fields=["organization", "external_id"],
                opclasses=["int8_ops", "varchar_pattern_ops"],
                condition=Q(external_id__gt=""),
                name="run_of_external_id",
            ),
            # What is rare is not looked for among all that is not, whatever the sort.
            models.Index(
                fields=["organization", "-created_at", "-id"],
                condition=Q(status="failed"),
                name="run_failed",
            ),
            models.Index(
                fields=["organization", "-created_at", "-id"],
                condition=Q(status__in=statuses(frozenset({Status.CANCELED, Status.TIMED_OUT}))),
                name="run_cancelled",
            ),
            models.Index(
                fields=["organization", "result", "-created_at", "-id"],
                condition=Q(status="completed"),
                name="run_by_result",
            ),
            # Most of these have no duration, so they lie together at one end of that sort.
            models.Index(
                "organization",
                DURATION.desc(),
                models.F("id").desc(),
                condition=Q(status__in=statuses(frozenset({Status.CANCELED, Status.TIMED_OUT}))),
                name="run_cancelled_by_duration",
            ),
            # Few runs end so, and there may be none among the longest of all.
            models.Index(
                "organization",
                DURATION.desc(),
                models.F("id").desc(),
                condition=Q(status="failed"),
                name="run_failed_by_duration",
            ),
            models.Index(
                "organization",
                "result",
                DURATION.desc(),
                models.F("id").desc(),
                condition=Q(status="completed", result__in=["modified", "partial"]),
                name="run_telling_by_duration",
            ),
            # The sorts of Job History, for who sees all of an organization.
            models.Index(
                "organization", STARTED.desc(), models.F("id").desc(), name="run_by_start"
            ),
            models.Index("organization", FINISHED.desc(), models.F("id").desc(), name="run_by_end"),
            models.Index(
                "organization", DURATION.desc(), models.F("id").desc(), name="run_by_duration"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["target", "function"],
                condition=Q(status__in=statuses(EXECUTING), overlap=False),
                name="run_one_at_a_time",
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="run_status"),
            models.CheckConstraint(
                condition=Q(status__in=statuses(FINAL), finished_at__isnull=False)
                | Q(status__in=statuses(ACTIVE), finished_at__isnull=True),
                name="run_finished_when_final",
            ),
            models.CheckConstraint(
                condition=Q(status="completed", result__in=Result.values)
                | (~Q(status="completed") & Q(result="")),
                name="run_result_when_completed",
            ),
            models.CheckConstraint(
                condition=Q(progress__isnull=True) | Q(progress__lte=100), name="run_progress"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=statuses(EXECUTING), origin="local")
                | Q(agent__isnull=False, lease_until__isnull=False),
                name="run_held_by_an_agent",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {str(self.public_id)[:6]}…"

    @property
    def tries(self) -> int:
        """How many tries there are at the most, those before it among them."""
        return self.try_number + self.tries_left


class StatusTransition(models.Model):
    """One status change of a run: the history that people see. Append-only."""

    run = models.ForeignKey(
        JobRun, on_delete=models.CASCADE, related_name="transitions", db_index=False
    )
    sequence = models.PositiveIntegerField()
    from_status = models.CharField(max_length=12, choices=Status, blank=True)
    to_status = models.CharField(max_length=12, choices=Status)
    at = models.DateTimeField(db_default=Now())
    # Who: a person, an agent, or neither (the portal itself).
    user = models.ForeignKey(
        User, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    agent = models.ForeignKey(
        Agent, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    reason = models.CharField(max_length=20, choices=Reason, blank=True)
    message = models.TextField(blank=True)

    class Meta:
        default_permissions = ()
        ordering = ["run", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["run", "sequence"], name="transition_sequence")
        ]

    def __str__(self) -> str:
        return f"{self.from_status or 'new'} → {self.to_status}"
