"""A saved definition: what is to run, on what, by whom, within which limits."""

import uuid
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from agents.models import Agent, AgentPool, Assignment, Function, FunctionVersion
from sites.models import Organization, Pausable, Site, Target, User

from .. import limits
from ..querysets import JobQuerySet
from ..schedule import Kind
from ..states import RETRIED, RETRIED_BY_ITSELF
from .schedule import Scheduled

DAY = 24 * 3600
LONGEST_SPREAD_S = 4 * 3600
LONGEST_GRACE_S = 7 * DAY
MOST_TAGS, LONGEST_TAG = 30, 60
MOST_RETRIES = 10
LEAST_RETRY_WAIT_S, LONGEST_RETRY_WAIT_S = 10, DAY


def retried() -> list[str]:
    """After which ends a job is tried again unless it says otherwise."""
    return [str(reason) for reason in RETRIED_BY_ITSELF]


class Overlap(models.TextChoices):
    """What becomes of a planned start while a run of the job is active."""

    SKIP = "skip", "Skip that start"
    QUEUE = "queue", "Let one wait"
    ALLOW = "allow", "Start beside it"


class Job(Pausable, Scheduled):
    """Function + target + parameters + assignment + schedule + limits + owner."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="jobs")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="jobs")
    target = models.ForeignKey(Target, on_delete=models.PROTECT, related_name="jobs")
    name = models.CharField(max_length=120)
    function = models.ForeignKey(Function, on_delete=models.PROTECT, related_name="jobs")
    version = models.CharField(max_length=40, blank=True)  # empty: the newest that an agent has
    parameters = models.JSONField(default=dict, blank=True)
    assignment = models.CharField(max_length=16, choices=Assignment, default=Assignment.AUTOMATIC)
    agent = models.ForeignKey(
        Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="jobs"
    )
    pool = models.ForeignKey(
        AgentPool, null=True, blank=True, on_delete=models.PROTECT, related_name="jobs"
    )
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="jobs")
    # Null: as its site says (jobs.limits).
    run_timeout_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[
            MinValueValidator(limits.LEAST_S),
            MaxValueValidator(limits.LONGEST_RUN_S),
        ],
    )
    queue_timeout_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[
            MinValueValidator(limits.LEAST_S),
            MaxValueValidator(limits.LONGEST_QUEUE_S),
        ],
    )
    # Of planned starts; one that is allowed to overlap is so however it was started.
    overlap = models.CharField(max_length=5, choices=Overlap, default=Overlap.SKIP)
    # Off: its schedule starts nothing. Backup Now still does.
    enabled = models.BooleanField(default=True, db_default=True)
    # Its place among the jobs of the site's schedule; the name decides between equals.
    site_order = models.PositiveSmallIntegerField(default=0, db_default=0)
    # How late a planned start may still be made up for.
    grace_s = models.PositiveIntegerField(
        default=600, db_default=600, validators=[MaxValueValidator(LONGEST_GRACE_S)]
    )
    # Within so many seconds after each time it starts at a place of its own.
    spread_s = models.PositiveIntegerField(
        default=0, db_default=0, validators=[MaxValueValidator(LONGEST_SPREAD_S)]
    )
    # How often a run that ended badly is tried again by itself, and after what (jobs.retries).
    retries = models.PositiveSmallIntegerField(
        default=0, db_default=0, validators=[MaxValueValidator(MOST_RETRIES)]
    )
    # Before the first; it doubles with each, up to a day.
    retry_wait_s = models.PositiveIntegerField(
        default=300,
        db_default=300,
        validators=[
            MinValueValidator(LEAST_RETRY_WAIT_S),
            MaxValueValidator(LONGEST_RETRY_WAIT_S),
        ],
    )
    retry_reasons = models.JSONField(default=retried, blank=True, db_default=retried())
    auto_commit = models.BooleanField(default=True)
    # The commit message of a backup says what changed; else it is a plain subject.
    describe_changes = models.BooleanField(default=False, db_default=False)
    # … in the words of the language model that the installation names, above the rules' own.
    describe_with_model = models.BooleanField(default=False, db_default=False)
    tags = models.JSONField(default=list, blank=True)
    external_id = models.CharField(max_length=200, blank=True)
    # The version of its function whose schema its parameters were last held against; null: none
    # since they were changed by something else.
    checked_version = models.ForeignKey(
        FunctionVersion,
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        indexes = [
            models.Index(fields=["organization", "name"], name="job_of_organization"),
            # What the planner asks every few seconds.
            models.Index(
                fields=["next_run_at"],
                condition=models.Q(next_run_at__isnull=False),
                name="job_due",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(assignment="automatic", agent__isnull=True, pool__isnull=True)
                | models.Q(assignment="agent", agent__isnull=False, pool__isnull=True)
                | models.Q(assignment="pool", agent__isnull=True, pool__isnull=False),
                name="job_assignment",
            ),
            models.CheckConstraint(
                condition=models.Q(run_timeout_s__gte=10, queue_timeout_s__gte=10),
                name="job_limits",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def run_limit_s(self) -> int:
        """How long its runs may take."""
        return limits.run_s(self)

    @property
    def queue_limit_s(self) -> int:
        """How long its runs may wait for an agent."""
        return limits.queue_s(self)

    @property
    def next_start(self) -> datetime | None:
        """When it starts next by itself, by its own times or with its site's schedule."""
        if self.schedule_kind != Kind.SITE:
            return self.next_run_at
        with_site = getattr(self.site, "schedule", None)
        return with_site.next_run_at if with_site and self.enabled else None

    def clean(self) -> None:
        """Refuse what belongs elsewhere, and an assignment without its other half."""
        errors: dict[str, str] = {}
        if self.target_id and self.site_id and self.target.site_id != self.site_id:
            errors["target"] = "This target is at another site."
        if self.function_id and self.function.organization_id != self.organization_id:
            errors["function"] = "This function belongs to another organization."
        if self.assignment == Assignment.AGENT and not self.agent_id:
            errors["agent"] = "Choose the agent, or Automatic."
        if self.assignment == Assignment.POOL and not self.pool_id:
            errors["pool"] = "Choose the pool, or Automatic."
        if self.agent_id and self.agent and self.agent.organization_id != self.organization_id:
            errors["agent"] = "This agent belongs to another organization."
        if self.agent_id and self.agent and self.agent.site_id not in (None, self.site_id):
            errors["agent"] = "This agent serves another site."
        if self.pool_id and self.pool and self.pool.organization_id != self.organization_id:
            errors["pool"] = "This pool belongs to another organization."
        if self.describe_with_model and not self.describe_changes:
            errors["describe_with_model"] = "A model's words need a message that says what changed."
        if wrong := _fault_of_reasons(self.retry_reasons, self.retries):
            errors["retry_reasons"] = wrong
        if wrong := _fault_of_tags(self.tags):
            errors["tags"] = wrong
        else:
            # Each once, in the order given.
            self.tags = list(dict.fromkeys(tag.strip() for tag in self.tags))
        if errors:
            raise ValidationError(errors)


def _fault_of_reasons(reasons: Any, retries: int) -> str:
    """Say what is wrong with the ends after which a job is tried again; empty for nothing."""
    if not isinstance(reasons, list) or not all(reason in RETRIED for reason in reasons):
        return f"Write a list of some of {', '.join(RETRIED)}."
    if retries and not reasons:
        return "Say after which ends it is tried again."
    return ""


def _fault_of_tags(tags: Any) -> str:
    """Say what is wrong with the tags of a job, as every door takes them; empty for nothing."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return 'Write a list of texts, such as ["nightly"].'
    if len(tags) > MOST_TAGS:
        return f"A job has at most {MOST_TAGS} tags."
    if any(not tag.strip() or len(tag) > LONGEST_TAG for tag in tags):
        return f"A tag has 1 to {LONGEST_TAG} characters."
    return ""
