"""What an agent says of itself."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from ..models import FunctionVersion

NAME = r"^[a-z][a-z0-9_-]{0,59}$"


class FunctionIn(serializers.Serializer[Any]):
    name = serializers.RegexField(NAME)
    title = serializers.CharField(max_length=120, required=False, allow_blank=True)
    produces = serializers.ChoiceField(FunctionVersion.Produces.choices, default="nothing")
    takes = serializers.ListField(
        child=serializers.CharField(max_length=120), required=False, default=list, max_length=50
    )
    parameters = serializers.DictField(required=False, default=dict)


class ToolIn(serializers.Serializer[Any]):
    name = serializers.RegexField(NAME)
    version = serializers.RegexField(r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,39}$")
    functions = FunctionIn(many=True)


class HelloIn(serializers.Serializer[Any]):
    version = serializers.CharField(max_length=60)
    platform = serializers.CharField(max_length=200, allow_blank=True, default="")
    tools = serializers.ListField(child=ToolIn(), max_length=100)

    def validate_tools(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if sum(len(tool["functions"]) for tool in tools) > 1000:
            raise serializers.ValidationError("An agent advertises at most 1,000 functions.")
        return tools


class EnrollIn(HelloIn):
    code = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=120, allow_blank=True, default="")


class EnrollOut(serializers.Serializer[Any]):
    agent = serializers.UUIDField()
    name = serializers.CharField()
    token = serializers.CharField(help_text="Shown here only.")
    organization = serializers.CharField()
    site = serializers.CharField(allow_null=True)


class AgentTokenOut(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown here only.")


class LimitsOut(serializers.Serializer[Any]):
    chunk_bytes = serializers.IntegerField()
    object_bytes = serializers.IntegerField()
    records = serializers.IntegerField()
    log_bytes = serializers.IntegerField()


class SettingsOut(serializers.Serializer[Any]):
    agent = serializers.UUIDField()
    name = serializers.CharField()
    heartbeat_s = serializers.IntegerField()
    lease_s = serializers.IntegerField()
    poll_s = serializers.IntegerField()
    slots = serializers.IntegerField()
    drain = serializers.BooleanField()
    rotate = serializers.BooleanField(help_text="The agent is to change its token.")
    queues = serializers.ListField(child=serializers.IntegerField())
    limits = LimitsOut()
