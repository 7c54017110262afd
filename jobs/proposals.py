"""How a change is proposed, accepted or rejected where a job accepts none by itself (rule 10)."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from sites.models import Snapshot, Target, User
from sites.problems import Refused

from . import moves
from .models import JobRun, Proposal

COMMENT = 2_000


def propose(run: JobRun) -> Proposal:
    """Let what a backup found wait for a person; an older proposal of the target waits no more.

    Runs in the transaction that completes the run. The target's row is locked before its
    proposals, as `accept` and `reject` lock it, so that they are one after the other.
    """
    assert run.target_id is not None  # a run of an agent has one
    target = _locked(run.target_id)
    older = overtake(run)
    made = Proposal.objects.create(
        run_id=run.pk,
        organization_id=target.organization_id,
        site_id=target.site_id,
        target=target,
        started_by_id=run.started_by_id,
    )
    Proposal.objects.filter(pk__in=older).update(superseded_by=made)
    return made


def overtake(run: JobRun) -> list[int]:
    """End the wait of the target's open proposals: a newer backup has looked; give their ids.

    Runs in the transaction that completes the run. Whatever that one found, up to date or a change
    that was accepted at once, the older change is not what the target has now.
    """
    assert run.target_id is not None  # a run of an agent has one
    waiting = Proposal.objects.filter(target_id=run.target_id, state=Proposal.State.OPEN)
    if not waiting.exists():
        return []
    _locked(run.target_id)
    older = list(waiting.select_related("run"))
    ids = [one.pk for one in older]
    Proposal.objects.filter(pk__in=ids).update(state=Proposal.State.SUPERSEDED, decided_at=Now())
    for one in older:
        _tell(one.run, Proposal.State.SUPERSEDED)
    return ids


def accept(run: JobRun, *, by: User, comment: str) -> Proposal:
    """Make what a run found the accepted backup. The door has asked `run_policy` for "accept".

    Refused 409: `not_proposed`; `already_decided` or `superseded`; `base_changed` where another
    backup was accepted since; `purged`, `archived`. Of two who decide at once one wins.
    """
    with transaction.atomic():
        proposal, target = _open(run, comment)
        assert run.snapshot_id is not None  # a proposal is made for one
        new = Snapshot.objects.filter(pk=run.snapshot_id).first()
        if target.archived_at is not None:
            raise Refused("archived", f"Target “{target}” is archived; nothing is accepted there.")
        if new is None or new.purged_at is not None:
            raise Refused(
                "purged", f"The files of this backup were purged; back {target} up again."
            )
        if not still_compared(target, run.base_snapshot_id):
            raise Refused(
                "base_changed",
                f"Another backup of “{target}” was accepted since this one was compared. Back it up"
                " again, and decide on what that finds.",
            )
        Target.objects.filter(pk=target.pk).update(accepted_snapshot=new)
        Snapshot.objects.filter(pk=new.pk).update(accepted_at=Now())
        return _decide(proposal, run, Proposal.State.ACCEPTED, by=by, comment=comment)


def reject(run: JobRun, *, by: User, comment: str) -> Proposal:
    """Record that a change is not accepted; the accepted backup stays. Refused as `accept` is."""
    with transaction.atomic():
        proposal, _ = _open(run, comment)
        return _decide(proposal, run, Proposal.State.REJECTED, by=by, comment=comment)


def still_compared(target: Target, base_id: int | None) -> bool:
    """Say whether the accepted backup is what a run was held against, or was purged since."""
    accepted = target.accepted_snapshot
    return target.accepted_snapshot_id == base_id or (
        accepted is not None and accepted.purged_at is not None
    )


def _open(run: JobRun, comment: str) -> tuple[Proposal, Target]:
    """Lock the target and give the run's open proposal, or refuse with what became of it."""
    if not comment.strip() or len(comment) > COMMENT:
        words = f"Say why, in at most {COMMENT:,} characters."
        raise Refused("invalid", words, status=422, errors={"comment": [words]})
    if run.target_id is not None:
        target = _locked(run.target_id)
        proposal = (
            Proposal.objects.select_related("decided_by", "superseded_by__run")
            .filter(run=run)
            .first()
        )
        if proposal is not None:
            _check_open(proposal)
            return proposal, target
    raise Refused("not_proposed", "This run proposes no change: there is nothing to decide.")


def _locked(target_id: int) -> Target:
    return Target.objects.select_for_update(no_key=True).get(pk=target_id)


def _check_open(proposal: Proposal) -> None:
    if proposal.state == Proposal.State.SUPERSEDED:
        newer = proposal.superseded_by
        words = "A newer backup of the target took the place of this proposal; decide on that one."
        if newer is None:
            words = "A newer backup of the target no longer found this change."
        raise Refused("superseded", words, run=str(newer.run.public_id) if newer else None)
    if proposal.state != Proposal.State.OPEN:
        raise Refused(
            "already_decided",
            f"{proposal.decided_by} has {proposal.state} this change already.",
        )


def _decide(
    proposal: Proposal, run: JobRun, state: Proposal.State, *, by: User, comment: str
) -> Proposal:
    Proposal.objects.filter(pk=proposal.pk).update(
        state=state, decided_by=by, decided_at=Now(), comment=comment.strip()
    )
    _tell(run, state)
    proposal.refresh_from_db()
    return proposal


def _tell(run: JobRun, state: Proposal.State) -> None:
    JobRun.objects.filter(pk=run.pk).update(updated_at=Now())
    moves.tell([run.pk], str(state))
