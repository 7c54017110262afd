"""What a program reads of runs, and what it may send."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.models import Assignment
from agents.permissions import function_policy
from sites.api.fields import Document, Key, Named, Person, Strict, Text, Whole
from sites.permissions import target_policy

from .. import doubts, limits, retention
from .. import waiting as reasons
from ..masking import shown_parameters
from ..models import (
    JobRun,
    LateReport,
    Proposal,
    Pruned,
    RunFile,
    RunInput,
    RunRecord,
    StatusTransition,
)
from ..models.job import DAY
from ..proposals import COMMENT
from ..states import Origin, Reason, Result, Status, chip
from .shapes import MASKED, Choice, FunctionNamed, Inputs, TargetNamed


class RunIn(Choice):
    """A run of a function on a target, without a saved job."""

    target = Key(target_policy, joins=("organization", "site"))
    function = Key(function_policy, joins=("tool",))
    version = Text(max_length=40, allow_blank=True, required=False)
    parameters = Document(required=False)
    run_timeout_s = Whole(min_value=10, max_value=7 * DAY, required=False)
    queue_timeout_s = Whole(min_value=10, max_value=30 * DAY, required=False)
    inputs = Inputs(required=False)


class RunInputOut(serializers.Serializer[RunInput]):
    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField()
    media_type = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()


class RunCounts(serializers.Serializer[JobRun]):
    total = serializers.IntegerField(source="count_total", allow_null=True)
    successful = serializers.IntegerField(source="count_successful", allow_null=True)
    failed = serializers.IntegerField(source="count_failed", allow_null=True)
    skipped = serializers.IntegerField(source="count_skipped", allow_null=True)


class WaitingOut(serializers.Serializer[reasons.Waiting]):
    """Why a run is still pending."""

    code = serializers.ChoiceField([(str(code), str(code)) for code in reasons.Code])
    message = serializers.CharField(help_text="The reason in a sentence.")
    act = serializers.CharField(
        help_text="What would let it go on; empty where nothing has to be done."
    )
    behind = serializers.UUIDField(
        allow_null=True, help_text="The run that it waits for, where you may see that one."
    )


class RunOut(serializers.Serializer[JobRun]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    site = Named(allow_null=True)
    target = TargetNamed(allow_null=True)
    job = Named(allow_null=True)
    function = FunctionNamed(allow_null=True)
    version = serializers.CharField()
    type = serializers.CharField()
    name = serializers.CharField()
    status = serializers.ChoiceField(Status.choices)
    result = serializers.ChoiceField(Result.choices, allow_blank=True)
    reason = serializers.ChoiceField(Reason.choices, allow_blank=True)
    chip = serializers.SerializerMethodField(
        help_text="For a badge: pending, in_progress, a result, failed, timed_out or canceled."
    )
    message = serializers.CharField()
    summary = serializers.CharField()
    error = serializers.CharField()
    progress = serializers.IntegerField(allow_null=True)
    counts = RunCounts(source="*")
    parameters = serializers.SerializerMethodField(help_text=MASKED)
    tags = serializers.ListField(child=serializers.CharField())
    data = Document()  # type: ignore[assignment]
    assignment = serializers.ChoiceField(Assignment.choices)
    requested_agent = Named(allow_null=True)
    requested_pool = Named(allow_null=True)
    agent = Named(allow_null=True)
    attempt = serializers.IntegerField()
    started_by = Person(allow_null=True)
    retry_of = serializers.UUIDField(source="retry_of.public_id", allow_null=True)
    try_number = serializers.IntegerField(help_text="1, or which of its own retries it is.")
    tries_left = serializers.IntegerField(help_text="How many retries may follow by themselves.")
    retry_at = serializers.DateTimeField(
        allow_null=True, help_text="When the next try begins; null where none follows."
    )
    retry_note = serializers.CharField(help_text="Why a try that was to follow was dropped.")
    origin = serializers.ChoiceField(Origin.choices)
    tool = serializers.CharField()
    source_system = serializers.CharField()
    target_system = serializers.CharField()
    external_id = serializers.CharField()
    robot = serializers.CharField()
    base_snapshot = serializers.UUIDField(source="base_snapshot.public_id", allow_null=True)
    snapshot = serializers.UUIDField(source="snapshot.public_id", allow_null=True)
    log_length = serializers.IntegerField()
    waiting = serializers.SerializerMethodField(
        help_text="Why it is still pending, and what would help; null when it is not pending. A"
        " list says it in fewer words than the run itself."
    )
    pinned_at = serializers.DateTimeField(
        allow_null=True, help_text="Since when it is kept whatever its age."
    )
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    updated_at = serializers.DateTimeField()
    duration_s = serializers.FloatField(allow_null=True)

    @extend_schema_field(WaitingOut(allow_null=True))
    def get_waiting(self, run: JobRun) -> Any:
        found = self.why(run)
        return WaitingOut(found).data if found else None

    def why(self, run: JobRun) -> reasons.Waiting | None:
        return reasons.in_brief(run)

    @extend_schema_field(str)
    def get_chip(self, run: JobRun) -> str:
        return chip(run.status, run.result)

    @extend_schema_field(Document)
    def get_parameters(self, run: JobRun) -> Any:
        return shown_parameters(run.function, run.parameters)


class ProposalOut(serializers.Serializer[Proposal]):
    """What was decided about a change that a backup found; `comment` says why."""

    state = serializers.ChoiceField(Proposal.State.choices)
    created_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_by = Person(allow_null=True)
    comment = serializers.CharField()
    superseded_by = serializers.UUIDField(
        source="superseded_by.run.public_id",
        allow_null=True,
        help_text="The run whose newer proposal took the place of this one.",
    )


class ListedProposalOut(ProposalOut):
    """A proposed change with what it is about."""

    run = serializers.UUIDField(source="run.public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    site = Named()
    target = TargetNamed()
    name = serializers.CharField(source="run.name")
    started_by = Person(allow_null=True)
    snapshot = serializers.UUIDField(source="run.snapshot.public_id", allow_null=True)
    message = serializers.CharField(source="run.snapshot.message", default="")
    changes = serializers.IntegerField(
        source="run.snapshot.changes", default=0, help_text="How many files differ."
    )


class DecisionIn(Strict):
    comment = Text(max_length=COMMENT, help_text="Why; it is kept beside the decision.")


class PrunedOut(serializers.Serializer[Pruned]):
    """What of a run is gone because its organization keeps it no longer."""

    what = serializers.ChoiceField(Pruned.What.choices)
    at = serializers.DateTimeField()
    after_days = serializers.IntegerField()


class RunDetailOut(RunOut):
    """One run; `inputs` is there for its starter alone."""

    pruned = serializers.SerializerMethodField()
    inputs = RunInputOut(many=True, required=False)
    proposal = ProposalOut(
        allow_null=True, help_text="Where the job accepts no change by itself and one was found."
    )
    warnings = serializers.SerializerMethodField(help_text="What it will lack when it begins.")
    run_timeout_s = serializers.IntegerField(help_text="How long it may take, from its start.")
    queue_timeout_s = serializers.SerializerMethodField(
        help_text="How long it may wait for an agent; null where another system holds it."
    )
    queue_until = serializers.SerializerMethodField(
        help_text="When its longest wait ends; null unless it is pending and in its queue."
    )

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_queue_timeout_s(self, run: JobRun) -> int | None:
        return limits.wait_s(run)

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_queue_until(self, run: JobRun) -> Any:
        until = limits.waits_until(run)
        return serializers.DateTimeField().to_representation(until) if until else None

    def why(self, run: JobRun) -> reasons.Waiting | None:
        return reasons.of(run, by=self.context["request"].user)

    @extend_schema_field(PrunedOut(many=True))
    def get_pruned(self, run: JobRun) -> list[dict[str, Any]]:
        found = retention.pruned_of(run, by=self.context["request"].user)
        return [dict(PrunedOut(one).data) for one in found]

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_warnings(self, run: JobRun) -> list[str]:
        return doubts.of_run(run)

    def to_representation(self, run: JobRun) -> dict[str, Any]:
        if run.started_by_id != self.context["request"].user.pk:
            # Before it is read: nobody else's request touches the inputs at all.
            self.fields.pop("inputs", None)
        return super().to_representation(run)


class TransitionOut(serializers.Serializer[StatusTransition]):
    sequence = serializers.IntegerField()
    from_status = serializers.ChoiceField(Status.choices, allow_blank=True)
    to_status = serializers.ChoiceField(Status.choices)
    at = serializers.DateTimeField()
    user = Person(allow_null=True)
    agent = Named(allow_null=True)
    reason = serializers.ChoiceField(Reason.choices, allow_blank=True)
    message = serializers.CharField()


class LogQuery(Strict):
    offset = Whole(
        min_value=0, max_value=2**62, default=0, help_text="0, or the `next_offset` of an answer."
    )


class LogOut(serializers.Serializer[Any]):
    text = serializers.CharField(trim_whitespace=False)
    next_offset = serializers.IntegerField(help_text="Ask for more from here.")
    length = serializers.IntegerField(help_text="Of the whole log, in bytes as the agent sent it.")


class RunFileOut(serializers.Serializer[RunFile]):
    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField()
    media_type = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    created_at = serializers.DateTimeField()


class RecordOut(serializers.Serializer[RunRecord]):
    sequence = serializers.IntegerField()
    record_id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.ChoiceField(RunRecord.Status.choices)
    result = serializers.CharField()
    error = serializers.CharField()
    processed_at = serializers.DateTimeField(allow_null=True)


class LateReportOut(serializers.Serializer[LateReport]):
    attempt = serializers.IntegerField()
    agent = Named()
    report = Document()
    at = serializers.DateTimeField()


class ConnectionJobOut(serializers.Serializer[JobRun]):
    """A run as the connection's own systems know it."""

    job_id = serializers.UUIDField(source="public_id")
    status = serializers.SerializerMethodField()
    date = serializers.DateTimeField(source="created_at")

    @extend_schema_field(serializers.ChoiceField(["success", "failed", "processing"]))
    def get_status(self, run: JobRun) -> str:
        if run.status == Status.COMPLETED:
            return "success"
        return "failed" if run.finished_at else "processing"
