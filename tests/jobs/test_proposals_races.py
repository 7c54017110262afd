"""Two who decide about one change at the same moment: real connections, exactly one wins."""

from __future__ import annotations

from contextlib import suppress

import pytest

from jobs import proposals
from jobs.models import Job, JobRun, Proposal
from sites.models import Event, Target, User
from sites.problems import Refused
from tests import factories
from tests.backups import back_up
from tests.factories import Enrolled
from tests.web import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


def test_of_two_who_decide_at_once_one_wins(
    job: Job, agent: Enrolled, press: Target, edda: User, alice: User
) -> None:
    Job.objects.filter(pk=job.pk).update(auto_commit=False)
    job.refresh_from_db()
    for turn in range(4):
        made = factories.run(job, by=edda)
        back_up(agent.api, {"a": str(turn).encode()})
        press.refresh_from_db()
        before = press.accepted_snapshot_id

        def decide(user: User, word: str, pk: int = made.pk) -> str:
            run = JobRun.objects.get(pk=pk)
            rule = proposals.accept if word == "accepted" else proposals.reject
            try:
                return rule(run, by=user, comment="Mine.").state
            except Refused as refusal:
                return refusal.code

        words = [(edda, "accepted"), (alice, "rejected")] * 2
        said = at_once([lambda w=one: decide(*w) for one in words])  # type: ignore[misc]
        proposal = Proposal.objects.get(run=made)
        assert sorted(said) == sorted(["already_decided"] * 3 + [proposal.state])
        assert proposal.decided_by == (edda if proposal.state == "accepted" else alice)
        press.refresh_from_db()
        made.refresh_from_db()
        moved = press.accepted_snapshot_id == made.snapshot_id
        assert moved == (proposal.state == "accepted")
        assert moved or press.accepted_snapshot_id == before
        told = Event.objects.filter(subject_id=made.public_id)
        assert told.filter(kind__in=["run.accepted", "run.rejected"]).count() == 1


def test_a_change_is_accepted_or_overtaken_never_both(
    job: Job, agent: Enrolled, press: Target, edda: User
) -> None:
    """A newer backup ends while its older change is accepted."""
    Job.objects.filter(pk=job.pk).update(auto_commit=False)
    job.refresh_from_db()
    old = factories.run(job, by=edda)
    back_up(agent.api, {"a": b"old"})
    new = factories.run(job, by=edda)

    def accept() -> str:
        try:
            run = JobRun.objects.get(pk=old.pk)
            return proposals.accept(run, by=edda, comment="Mine.").state
        except Refused as refusal:
            return refusal.code

    def end_newer() -> None:
        # A claim passes by a target that is locked at the moment.
        while JobRun.objects.get(pk=new.pk).status == "pending":
            with suppress(ValueError):
                back_up(agent.api, {"a": b"new"})

    said, _ = at_once([accept, end_newer])
    older, newer = (Proposal.objects.get(run=run) for run in (old, new))
    assert (said, older.state) in {("accepted", "accepted"), ("superseded", "superseded")}
    assert newer.state == "open"
