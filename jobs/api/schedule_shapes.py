"""What a program reads and sends of schedules and planned starts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from sites.api.fields import Key, Named, Strict, Text, Whole
from sites.permissions import site_policy

from ..models import Occurrence
from ..permissions import job_policy
from ..schedule import DAYS, LONGEST_CRON, Kind

KINDS = [kind for kind in Kind.values if kind]


class Times(serializers.Serializer[Any]):
    """When something starts by itself, in its site's zone."""

    kind = serializers.ChoiceField(KINDS)
    time = serializers.TimeField(
        format="%H:%M", allow_null=True, help_text="Of daily, workdays and weekly."
    )
    days = serializers.ListField(child=serializers.ChoiceField(DAYS), help_text="Of weekly.")
    cron = serializers.CharField(help_text="Of cron: five fields.")
    time_zone = serializers.CharField()
    text = serializers.CharField(help_text="The same in words.")


@extend_schema_field(Times(allow_null=True))
class TimesField(serializers.Field[Any, Any, Any, Any]):
    """The schedule of a job, null where it runs only on demand."""

    def __init__(self) -> None:
        words = "When it starts by itself; null: only on demand."
        super().__init__(source="*", read_only=True, help_text=words)

    def to_representation(self, planned: Any) -> Any:
        if not planned.schedule_kind:
            return None
        return {
            "kind": planned.schedule_kind,
            "time": planned.schedule_time and f"{planned.schedule_time:%H:%M}",
            "days": planned.schedule_days,
            "cron": planned.schedule_cron,
            "time_zone": planned.site.time_zone,
            "text": planned.schedule_text,
        }


class TimesIn(Strict):
    """What a kind does not use is left out: `time` of cron, `days` of all but weekly."""

    kind = serializers.ChoiceField(KINDS)
    time = serializers.TimeField(
        format="%H:%M", input_formats=["%H:%M"], required=False, allow_null=True
    )
    days = serializers.ListField(
        child=serializers.ChoiceField(DAYS), required=False, max_length=len(DAYS)
    )
    cron = Text(max_length=LONGEST_CRON, allow_blank=True, required=False)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        given = super().to_internal_value(data)
        return {
            "schedule_kind": given["kind"],
            "schedule_time": given.get("time"),
            "schedule_days": given.get("days", []),
            "schedule_cron": given.get("cron", ""),
        }


NO_TIMES: dict[str, Any] = {
    "schedule_kind": Kind.NONE, "schedule_time": None, "schedule_days": [], "schedule_cron": "",
}  # fmt: skip


class OccurrenceOut(serializers.Serializer[Occurrence]):
    """One planned start: that it was made, or why it was not."""

    organization = serializers.UUIDField(source="organization.public_id")
    site = Named()
    target = Named()
    job = Named()
    planned_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(source="at")
    late_s = serializers.IntegerField(help_text="How long after its time that was, in seconds.")
    outcome = serializers.ChoiceField(Occurrence.Outcome.choices)
    never_began = serializers.BooleanField(
        help_text="Started, and the run ended before its work had begun."
    )
    reason = serializers.ChoiceField([("", "Started"), *Occurrence.Reason.choices])
    message = serializers.CharField()
    run = serializers.UUIDField(
        source="run.public_id",
        allow_null=True,
        default=None,
        help_text="Null where none was made, or it is kept no longer.",
    )


class SchedulePreviewIn(Strict):
    """A schedule that is not saved yet, for a site; of a `job` with its place in its spread."""

    site = Key(site_policy)
    schedule = TimesIn()
    job = Key(job_policy, required=False, allow_null=True)


class StartOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    local = serializers.CharField(help_text="What clocks at the site show then.")
    note = serializers.CharField(help_text="What a change of the clocks does to it; mostly empty.")


class SchedulePreviewOut(serializers.Serializer[Any]):
    text = serializers.CharField()
    time_zone = serializers.CharField()
    starts = StartOut(many=True, help_text="The next five.")


class SiteScheduleOut(serializers.Serializer[Any]):
    """When all jobs of a site start that say `"kind": "site"`."""

    schedule = TimesField()
    next_run_at = serializers.DateTimeField(allow_null=True)
    schedule_fault = serializers.CharField(help_text="Why it starts nothing although it should.")
    at_once = serializers.IntegerField(help_text="So many of its runs are under way together.")


class SiteScheduleIn(Strict):
    schedule = TimesIn(allow_null=True, help_text="Null: never.")
    at_once = Whole(min_value=1, max_value=100, required=False)
