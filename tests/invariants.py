"""Decides what must hold of all runs in the database, whatever happened (I1, I3, I4, I5, I8)."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from typing import Any

from django.core.files.storage import default_storage

from jobs.models import JobRun, RunFile, StatusTransition
from jobs.states import EXECUTING, FINAL, MOVES, Status
from notifications.models import ChannelKind, Delivery
from sites.models import Event, User


def check_runs(*, all_final: bool = False) -> int:
    """Hold every run against its history; gives how many runs there are.

    Each history is a legal path from nothing to the run's status without a gap; it has one final
    state at most, as its end; each attempt was claimed once, by one agent; each step has its
    Event; runs of one target and function that exclude each other never executed at once.
    """
    histories: dict[int, list[StatusTransition]] = defaultdict(list)
    for step in StatusTransition.objects.order_by("run_id", "sequence"):
        histories[step.run_id].append(step)
    events: dict[Any, int] = defaultdict(int)
    for subject, kind in Event.objects.filter(kind__startswith="run.").values_list(
        "subject_id", "kind"
    ):
        events[subject, kind] += 1
    busy: dict[tuple[int | None, int | None], list[tuple[Any, Any, JobRun]]] = defaultdict(list)
    runs = list(JobRun.objects.all())
    for run in runs:
        path = histories.pop(run.pk)
        check_path(run, path)
        assert not all_final or run.status in FINAL, f"{run.public_id} is {run.status}"
        for status in Status:
            steps = sum(step.to_status == status for step in path)
            assert events[run.public_id, f"run.{status}"] == steps, (run.public_id, status)
        if not run.overlap:
            busy[run.target_id, run.function_id].extend(executing(run, path))
    assert not histories
    for spans in busy.values():
        spans.sort(key=lambda span: span[0])
        for (_, end, one), (start, _, other) in itertools.pairwise(spans):
            assert end is not None, f"{one.public_id} and {other.public_id} execute at once"
            assert end <= start, f"{one.public_id} and {other.public_id} executed at once"
    return len(runs)


def check_path(run: JobRun, path: list[StatusTransition]) -> None:
    """Hold one run against its own history."""
    assert [step.sequence for step in path] == list(range(1, run.sequence + 1))
    assert (path[0].from_status, path[0].to_status) == ("", Status.PENDING)
    for one, other in itertools.pairwise(path):
        assert one.to_status == other.from_status
        assert other.to_status in MOVES[Status(one.to_status)], f"{one} then {other}"
    assert path[-1].to_status == run.status
    assert [step.to_status for step in path[:-1] if step.to_status in FINAL] == []
    claims = [step for step in path if step.to_status == Status.CLAIMED]
    assert len(claims) == run.attempt, f"{run.public_id}: attempt {run.attempt}"
    assert all(step.agent_id for step in claims)
    if run.status in EXECUTING:
        assert run.agent_id == claims[-1].agent_id
    # Work is begun once for a run, whatever became of it (I10).
    assert sum(step.to_status == Status.RUNNING for step in path) <= 1
    assert (run.finished_at is not None) == (run.status in FINAL)


def executing(run: JobRun, path: list[StatusTransition]) -> list[tuple[Any, Any, JobRun]]:
    """List when an agent held the run, as (from, to or None, run)."""
    spans = []
    since = None
    for step in path:
        if step.to_status == Status.CLAIMED:
            since = step.at
        elif step.to_status not in EXECUTING and since is not None:
            spans.append((since, step.at, run))
            since = None
    return [*spans, (since, None, run)] if since is not None else spans


def check_deliveries(people: list[User]) -> int:
    """See that each of these people, and nobody else, has one delivery of each end of a run.

    For runs that are not tried again; gives how many deliveries there are.
    """
    ends = Event.objects.filter(kind__in=[f"run.{status}" for status in FINAL])
    assert ends.count() == JobRun.objects.filter(status__in=FINAL).count()
    expected = sorted(
        (event, person.pk, str(channel))
        for event in ends.values_list("pk", flat=True)
        for person in people
        for channel in ChannelKind
    )
    columns = ("notification__event", "notification__recipient", "channel")
    assert sorted(Delivery.objects.values_list(*columns)) == expected
    return len(expected)


def check_files() -> int:
    """See that each file's blob is there and has its hash; gives how many there are."""
    count = 0
    for file in RunFile.objects.all():
        with default_storage.open(file.storage_name) as stored:
            data = stored.read()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
        count += 1
    return count
