"""What a program reads of jobs, and what it may send."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.models import Assignment
from agents.permissions import function_policy
from sites.api.fields import Document, Flag, Key, Named, Person, Strict, Text, Whole
from sites.api.pauses import PauseField
from sites.permissions import target_policy

from .. import doubts
from ..masking import shown_parameters
from ..models import Job, Overlap
from ..models.job import (
    DAY,
    LEAST_RETRY_WAIT_S,
    LONGEST_GRACE_S,
    LONGEST_RETRY_WAIT_S,
    LONGEST_SPREAD_S,
    LONGEST_TAG,
    MOST_RETRIES,
    MOST_TAGS,
)
from ..states import RETRIED
from .schedule_shapes import NO_TIMES, TimesField, TimesIn
from .shapes import MASKED, Choice, FunctionNamed, Inputs, TargetNamed

_WARNINGS = (
    "Why a run would wait, or what it would lack: who was chosen cannot serve it, or not now."
)
_REASONS = [(str(reason), reason.label) for reason in RETRIED]
_LIMIT = "Null: as the site says, else an hour for a run and a day for its wait."
_OVERLAP = (
    "What becomes of a planned start while a run of the job is active: `skip`, `queue` (one waits),"
    " `allow`. Runs of a job that allows it execute beside each other however they were started."
)
_GRACE = "How late a planned start is still made up for; later it is recorded as missed."
_RETRIES = "How often a run that ended badly is tried again by itself; 0: never."
_RETRY_WAIT = "Before the first retry; it doubles with each, up to a day."
_RETRY_REASONS = "After which ends it is tried again."
_SPREAD = "Each start comes up to so many seconds later, always the same for this job."


class Tags(serializers.ListField):
    """Labels, each once, in the order given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=Text(max_length=LONGEST_TAG), max_length=MOST_TAGS, **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        return list(dict.fromkeys(super().to_internal_value(data)))


class Reasons(serializers.ListField):
    """Ends of a run, each once, in the order given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            child=serializers.ChoiceField(_REASONS), max_length=len(_REASONS), **kwargs
        )

    def to_internal_value(self, data: Any) -> list[str]:
        return list(dict.fromkeys(super().to_internal_value(data)))


class JobOut(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    site = Named()
    target = TargetNamed()
    name = serializers.CharField()
    function = FunctionNamed()
    version = serializers.CharField(help_text="Empty: the newest that an agent has.")
    parameters = serializers.SerializerMethodField(help_text=MASKED)
    assignment = serializers.ChoiceField(Assignment.choices)
    agent = Named(allow_null=True)
    pool = Named(allow_null=True)
    owner = Person()
    run_timeout_s = serializers.IntegerField(allow_null=True, help_text=_LIMIT)
    queue_timeout_s = serializers.IntegerField(allow_null=True, help_text=_LIMIT)
    run_limit_s = serializers.IntegerField(help_text="What holds: the job's or the site's.")
    queue_limit_s = serializers.IntegerField(help_text="What holds: the job's or the site's.")
    schedule = TimesField()
    next_run_at = serializers.DateTimeField(
        source="next_start", allow_null=True, help_text="The next start; null where none is ahead."
    )
    schedule_fault = serializers.CharField(help_text="Why it starts nothing although it should.")
    enabled = serializers.BooleanField(help_text="False: its schedule starts nothing.")
    overlap = serializers.ChoiceField(Overlap.choices, help_text=_OVERLAP)
    grace_s = serializers.IntegerField(help_text=_GRACE)
    spread_s = serializers.IntegerField(help_text=_SPREAD)
    site_order = serializers.IntegerField(help_text="Its place in the site's schedule.")
    retries = serializers.IntegerField(help_text=_RETRIES)
    retry_wait_s = serializers.IntegerField(help_text=_RETRY_WAIT)
    retry_reasons = serializers.ListField(
        child=serializers.ChoiceField(_REASONS), help_text=_RETRY_REASONS
    )
    auto_commit = serializers.BooleanField()
    describe_changes = serializers.BooleanField(
        help_text="The commit message of a backup says what changed."
    )
    describe_with_model = serializers.BooleanField(
        help_text="… in the words of the installation's language model, where it names one."
    )
    tags = serializers.ListField(child=serializers.CharField())
    external_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)
    pause = PauseField()

    @extend_schema_field(Document)
    def get_parameters(self, job: Job) -> Any:
        return shown_parameters(job.function, job.parameters)


class JobDetailOut(JobOut):
    """One job, with what is to be said of a run of it before it is made."""

    warnings = serializers.SerializerMethodField(help_text=_WARNINGS)

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_warnings(self, job: Job) -> list[str]:
        if job.archived_at is not None:
            return []
        return doubts.paused(job.site, job) + doubts.of_job(job, by=self.context["request"].user)


class JobChanges(Choice):
    name = Text(max_length=120)
    version = Text(max_length=40, allow_blank=True, required=False)
    parameters = Document(required=False)
    run_timeout_s = Whole(
        min_value=10, max_value=7 * DAY, required=False, allow_null=True, help_text=_LIMIT
    )
    queue_timeout_s = Whole(
        min_value=10, max_value=30 * DAY, required=False, allow_null=True, help_text=_LIMIT
    )
    schedule = TimesIn(required=False, allow_null=True)
    enabled = Flag(required=False)
    overlap = serializers.ChoiceField(Overlap.choices, required=False, help_text=_OVERLAP)
    grace_s = Whole(min_value=0, max_value=LONGEST_GRACE_S, required=False, help_text=_GRACE)
    spread_s = Whole(min_value=0, max_value=LONGEST_SPREAD_S, required=False, help_text=_SPREAD)
    site_order = Whole(min_value=0, max_value=30_000, required=False)
    retries = Whole(min_value=0, max_value=MOST_RETRIES, required=False, help_text=_RETRIES)
    retry_wait_s = Whole(
        min_value=LEAST_RETRY_WAIT_S,
        max_value=LONGEST_RETRY_WAIT_S,
        required=False,
        help_text=_RETRY_WAIT,
    )
    retry_reasons = Reasons(required=False, help_text=_RETRY_REASONS)
    auto_commit = Flag(required=False)
    describe_changes = Flag(required=False)
    describe_with_model = Flag(required=False)
    tags = Tags(required=False)
    external_id = Text(max_length=200, allow_blank=True, required=False)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        data = super().validate(data)
        if "schedule" in data:
            data |= data.pop("schedule") or NO_TIMES
        return data


class JobIn(JobChanges):
    target = Key(target_policy, joins=("organization", "site"))
    function = Key(function_policy, joins=("tool",))


class StartIn(Strict):
    parameters = Document(required=False, help_text="In place of the job's own.")
    inputs = Inputs(required=False)
