"""What the programs' sides of jobs and of runs share: who carries out, which files are given."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from agents.models import Assignment, Function
from agents.permissions import agent_policy, pool_policy
from sites.api.fields import Key, Named, Strict, Whole
from sites.masking import HIDDEN

from ..inputs import MOST, Given

MASKED = f"Values that the function's schema marks as secret are {HIDDEN}."


class FunctionNamed(serializers.Serializer[Function]):
    id = serializers.UUIDField(source="public_id")
    tool = serializers.CharField(source="tool.name")
    name = serializers.CharField()


class TargetNamed(Named):
    kind = serializers.CharField()


class Choice(Strict):
    """Who is to carry it out: `agent` or `pool` says which, and neither means automatic."""

    assignment = serializers.ChoiceField(Assignment.choices, required=False)
    agent = Key(agent_policy, required=False, allow_null=True)
    pool = Key(pool_policy, required=False, allow_null=True)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        return data | chosen(data) if {"assignment", "agent", "pool"} & data.keys() else data


def chosen(data: dict[str, Any]) -> dict[str, Any]:
    """Settle assignment, agent and pool from what was sent of them; 422 where they disagree."""
    agent, pool = data.get("agent"), data.get("pool")
    implied = Assignment.AGENT if agent else Assignment.POOL if pool else Assignment.AUTOMATIC
    said = data.get("assignment", implied)
    if agent and pool:
        raise serializers.ValidationError({"pool": ["Name an agent or a pool, not both."]})
    if said != implied:
        field = "assignment" if implied != Assignment.AUTOMATIC else said
        words = (
            f"“{said}” needs the {said}."
            if implied == Assignment.AUTOMATIC
            else (f"An {implied} is named: the assignment is “{implied}”.")
        )
        raise serializers.ValidationError({field: [words]})
    return {"assignment": implied, "agent": agent, "pool": pool}


class InputIn(Strict):
    upload = serializers.UUIDField(help_text="The id under which the pieces were sent.")
    name = serializers.RegexField(
        r"^[^/\\\x00-\x1f\x7f]{1,255}$", max_length=255, help_text="A file name, without a folder."
    )
    media_type = serializers.RegexField(
        r"^[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,59}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,59}$"
    )
    size = Whole(min_value=0, max_value=2**62)
    sha256 = serializers.RegexField(r"^[0-9a-f]{64}$")

    def to_internal_value(self, data: Any) -> Given:
        return Given(**super().to_internal_value(data))


class Inputs(serializers.ListField):
    """The files that the run is to be given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=InputIn(), max_length=MOST, **kwargs)
