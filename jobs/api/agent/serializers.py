"""What an agent sends about runs, and what it is answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from sites.api.rows import Rows, refuses_names

from ...models import RunRecord
from ...states import Reason, Status

SHA1 = r"^[0-9a-f]{40}$"
SHA256 = r"^[0-9a-f]{64}$"
BIG = 2**31 - 1


class ClaimIn(serializers.Serializer[Any]):
    claim_id = serializers.UUIDField()
    max = serializers.IntegerField(min_value=1, max_value=64, default=1)


class InputOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    media_type = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()


class ClaimedTarget(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.CharField()
    address = serializers.CharField(allow_blank=True)
    settings = serializers.DictField()


class ClaimedRun(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    attempt = serializers.IntegerField()
    claim_id = serializers.UUIDField()
    status = serializers.ChoiceField(Status.choices)
    lease_s = serializers.IntegerField()
    run_timeout_s = serializers.IntegerField()
    tool = serializers.CharField()
    function = serializers.CharField()
    version = serializers.CharField(allow_blank=True)
    target = ClaimedTarget()
    parameters = serializers.DictField()
    credentials = serializers.DictField()
    base_tree = serializers.CharField(allow_null=True)
    inputs = InputOut(many=True)


class ClaimOut(serializers.Serializer[Any]):
    runs = ClaimedRun(many=True)


class MoveIn(serializers.Serializer[Any]):
    attempt = serializers.IntegerField(min_value=1, max_value=BIG)
    claim_id = serializers.UUIDField()
    status = serializers.ChoiceField([Status.RUNNING, Status.VALIDATING, Status.UPLOADING])
    message = serializers.CharField(max_length=10_000, allow_blank=True, required=False)
    progress = serializers.IntegerField(min_value=0, max_value=100, required=False, allow_null=True)


class MoveOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    attempt = serializers.IntegerField()
    status = serializers.ChoiceField(Status.choices)
    lease_s = serializers.IntegerField()


class MovesItem(MoveIn):
    id = serializers.UUIDField()


class MovesIn(serializers.Serializer[Any]):
    runs = Rows(child=MovesItem(), min_length=1, max_length=100)


class AnsweredOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    attempt = serializers.IntegerField()
    code = serializers.CharField(
        help_text="ok, or the code of the problem it would have been alone"
    )
    status = serializers.CharField(allow_null=True)
    result = serializers.CharField(allow_blank=True)


class MovesOut(serializers.Serializer[Any]):
    runs = AnsweredOut(many=True)


class BeatIn(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    attempt = serializers.IntegerField(min_value=1, max_value=BIG)
    claim_id = serializers.UUIDField()
    progress = serializers.IntegerField(min_value=0, max_value=100, required=False, allow_null=True)


class HeartbeatIn(serializers.Serializer[Any]):
    runs = Rows(child=BeatIn(), max_length=200)


class BeatOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    attempt = serializers.IntegerField()
    code = serializers.ChoiceField(["ok", "stale_attempt", "already_final", "not_found"])
    status = serializers.CharField(allow_null=True)
    lease_s = serializers.IntegerField()


class HeartbeatOut(serializers.Serializer[Any]):
    runs = BeatOut(many=True)
    heartbeat_s = serializers.IntegerField()
    lease_s = serializers.IntegerField()
    drain = serializers.BooleanField()
    rotate = serializers.BooleanField(help_text="The agent is to change its token.")


class CountsIn(serializers.Serializer[Any]):
    total = serializers.IntegerField(min_value=0, max_value=BIG, required=False, allow_null=True)
    successful = serializers.IntegerField(
        min_value=0, max_value=BIG, required=False, allow_null=True
    )
    failed = serializers.IntegerField(min_value=0, max_value=BIG, required=False, allow_null=True)
    skipped = serializers.IntegerField(min_value=0, max_value=BIG, required=False, allow_null=True)


class ResultIn(serializers.Serializer[Any]):
    status = serializers.ChoiceField([Status.COMPLETED, Status.FAILED])
    message = serializers.CharField(max_length=10_000, allow_blank=True, default="")
    error = serializers.CharField(
        max_length=100_000, allow_blank=True, required=False, allow_null=True
    )
    summary = serializers.CharField(max_length=100_000, allow_blank=True, required=False)
    reason = serializers.ChoiceField([Reason.ERROR, Reason.AGENT_RESTARTED], required=False)
    counts = CountsIn(required=False, allow_null=True)

    @refuses_names
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and "result" in data:
            raise serializers.ValidationError(
                {"result": ["The portal finds the result itself; leave it out."]}
            )
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["status"] == Status.COMPLETED and attrs.get("reason"):
            raise serializers.ValidationError({"reason": ["A completed run has no reason."]})
        return attrs


class ResultsItem(ResultIn):
    id = serializers.UUIDField()
    attempt = serializers.IntegerField(min_value=1, max_value=BIG)


class ResultsIn(serializers.Serializer[Any]):
    results = Rows(child=ResultsItem(), min_length=1, max_length=100)


class ResultsOut(serializers.Serializer[Any]):
    results = AnsweredOut(many=True)


class ResultOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    attempt = serializers.IntegerField()
    status = serializers.ChoiceField(Status.choices)
    result = serializers.CharField(allow_blank=True)


class LogIn(serializers.Serializer[Any]):
    offset = serializers.IntegerField(min_value=0, max_value=2**53)
    text = serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=256 * 1024)

    def validate_text(self, text: str) -> str:
        if len(text.encode()) > 256 * 1024:
            raise serializers.ValidationError("A piece of log is at most 256 KiB.")
        return text


class LengthOut(serializers.Serializer[Any]):
    length = serializers.IntegerField()


class RecordIn(serializers.Serializer[Any]):
    sequence = serializers.IntegerField(min_value=0, max_value=BIG)
    record_id = serializers.CharField(max_length=200, allow_blank=True, required=False)
    name = serializers.CharField(max_length=300, allow_blank=True, required=False)
    status = serializers.ChoiceField(RunRecord.Status.choices)
    result = serializers.CharField(max_length=10_000, allow_blank=True, required=False)
    error = serializers.CharField(max_length=10_000, allow_blank=True, required=False)
    processed_at = serializers.DateTimeField(required=False, allow_null=True)


class RecordsIn(serializers.Serializer[Any]):
    records = Rows(child=RecordIn(), max_length=10_000)


class RecordsOut(serializers.Serializer[Any]):
    stored = serializers.IntegerField()


class FileIn(serializers.Serializer[Any]):
    name = serializers.RegexField(r"^[^\x00-\x1f\x7f/\\]{1,255}$")
    media_type = serializers.RegexField(
        r"^[\w.+-]{1,60}/[\w.+-]{1,59}$", default="application/octet-stream"
    )
    size = serializers.IntegerField(min_value=0, max_value=2**53)
    sha256 = serializers.RegexField(SHA256)


class FileOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()


class TreeIn(serializers.Serializer[Any]):
    tree = serializers.RegexField(SHA1)


class OpenOut(serializers.Serializer[Any]):
    verdict = serializers.CharField(allow_null=True)
    base_tree = serializers.CharField(allow_null=True)
    commit = serializers.CharField(allow_null=True)


class MissingOut(serializers.Serializer[Any]):
    missing = serializers.ListField(child=serializers.CharField())
    missing_content = serializers.ListField(child=serializers.CharField())


class ReceivedOut(serializers.Serializer[Any]):
    received = serializers.IntegerField()


class SizeIn(serializers.Serializer[Any]):
    size = serializers.IntegerField(min_value=0, max_value=2**53)


class ContentOut(serializers.Serializer[Any]):
    sha256 = serializers.CharField()
    size = serializers.IntegerField()


class ChangeCounts(serializers.Serializer[Any]):
    added = serializers.IntegerField()
    modified = serializers.IntegerField()
    removed = serializers.IntegerField()
    renamed = serializers.IntegerField()


class SealOut(serializers.Serializer[Any]):
    verdict = serializers.CharField()
    commit = serializers.CharField()
    base_commit = serializers.CharField(allow_null=True)
    counts = ChangeCounts()
