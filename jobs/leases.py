"""Decides when an agent's lease on a run is over: for the agent, for the sweep, and for neither."""

from __future__ import annotations

from sites import pulse, sql

# An agent counts its lease from when it sent the beat, the portal from when it stored it:
# the portal waits a little longer.
GRACE_S = 10


def holds(run: str = "run") -> str:
    """The SQL condition that the agent which holds the run may go on with it.

    Where the portal was away, nobody could renew a lease: one that ended then is renewed by whoever
    still holds the run, as long as its deadline has not passed. The sweep spares it meanwhile.
    """
    in_time = f"({run}.deadline_at IS NULL OR {run}.deadline_at > {sql.now()})"
    return f"({run}.lease_until > {sql.now()} OR ({in_time} AND {pulse.was_away()}))"


def lapsed(for_s: int = GRACE_S) -> str:
    """The SQL condition that a lease has been over for so long that the run is given up."""
    return f"run.lease_until < {sql.later(str(-for_s))}"
