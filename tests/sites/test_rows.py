"""A list that is validated by its plan is taken and refused as its serializer would do it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.validators import RegexValidator
from hypothesis import example, given
from hypothesis import strategies as st
from rest_framework import serializers

from jobs.api.agent.serializers import BeatIn, MovesItem, RecordIn, ResultsItem
from sites.api.rows import UNSURE, Rows, plan_of

pytestmark = pytest.mark.once

KINDS = [BeatIn, MovesItem, RecordIn, ResultsItem]
ID = "0b6a7f3e-9a55-4a0e-8a51-6f2a41b4c1de"
# Right ones, odd ones that the serializers take, and wrong ones.
VALUES: dict[str, list[Any]] = {
    "id": [ID, ID.upper(), ID.replace("-", ""), "x" * 36, "", None, 7],
    "claim_id": [ID, f"{{{ID}}}", "nonsense", None],
    "attempt": [1, 2**31 - 1, 2**31, 0, "1", 1.0, True, None, "x"],
    "sequence": [0, 10, -1, "4", None, False],
    "status": ["running", "uploading", "completed", "failed", "success", "skipped", "", None, 1],
    "progress": [0, 100, 101, "50", None, 5.5],
    "message": ["Done.", "", " padded ", "a\x00b", "\ud800", "x" * 10_001, None, 12, ["a"]],
    "record_id": ["4711", "", " 4711", "x" * 201, None],
    "name": ["Invoice", "", None, {}],
    "error": ["", "No such file.", None, "x" * 10_001],
    "summary": ["", "All is well.", None],
    "reason": ["error", "agent_restarted", "deadline", "", None],
    "counts": [None, {}, {"total": 3}, {"total": -1}, {"total": "many"}, []],
    "processed_at": ["2026-03-29T02:30:00Z", "yesterday", None],
    "result": ["ok", "", 1],
    "nonsense": [1],
}
ITEMS = st.one_of(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(VALUES[name]) for name in VALUES}),
    st.sampled_from(["text", 1, None, [], {}]),
)
GOOD = {"id": ID, "claim_id": ID, "attempt": 1}


@pytest.mark.parametrize("kind", KINDS)
@given(items=st.lists(ITEMS, max_size=4))
@example(items=[GOOD | {"status": "running"}, GOOD | {"status": "completed"}])
@example(items=[{"sequence": 1, "status": "success", "name": "Invoice"}])
@example(items=[GOOD | {"status": "completed", "reason": "error"}])
def test_rows_agree_with_the_serializer(kind, items):
    said = []
    for field in (Rows(child=kind()), serializers.ListField(child=kind())):
        try:
            said.append(("taken", field.run_validation(items)))
        except serializers.ValidationError as error:
            said.append(("refused", error.detail))
    assert said[0] == said[1]


def test_what_agents_send_day_by_day_is_taken_by_the_plan():
    counts = {"total": 3, "successful": 3, "failed": 0, "skipped": 0}
    for kind, item in (
        (BeatIn, GOOD | {"progress": 5}),
        (MovesItem, GOOD | {"status": "running"}),
        (ResultsItem, {"id": ID, "attempt": 1, "status": "completed", "counts": counts}),
        (RecordIn, {"sequence": 1, "record_id": "4711", "name": "Invoice", "status": "failed"}),
    ):
        assert plan_of(kind)(item) is not UNSURE, kind


class Even(serializers.IntegerField):
    """A number that is doubled on its way in."""

    def to_internal_value(self, data: Any) -> int:
        return 2 * super().to_internal_value(data)


class Odd(serializers.Serializer[Any]):
    """Fields that are almost those a plan knows."""

    doubled = Even(min_value=0, max_value=9, required=False)
    stored = serializers.IntegerField(source="kept", min_value=0, max_value=9, required=False)
    shown = serializers.IntegerField(min_value=0, max_value=9, read_only=True)
    checked = serializers.CharField(
        max_length=9, validators=[RegexValidator("^[a-c]*$")], required=False
    )
    made = serializers.IntegerField(min_value=0, max_value=9, default=lambda: 7)


class Shifted(serializers.Serializer[Any]):
    """An object that is read in its own way."""

    number = serializers.IntegerField(min_value=0, max_value=9)

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value({"number": data["number"] + 1})


@pytest.mark.parametrize(
    ("kind", "item"),
    [
        (Odd, {"doubled": 3}),
        (Odd, {"stored": 3}),
        (Odd, {"shown": 3}),
        (Odd, {"checked": "abc"}),
        (Odd, {"checked": "xyz"}),
        (Odd, {}),
        (Shifted, {"number": 3}),
    ],
)
def test_what_a_serializer_reads_in_its_own_way_it_reads(kind, item):
    said = []
    for field in (Rows(child=kind()), serializers.ListField(child=kind())):
        try:
            said.append(("taken", field.run_validation([item])))
        except serializers.ValidationError as error:
            said.append(("refused", error.detail))
    assert said[0] == said[1]
