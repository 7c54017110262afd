"""Decides whether the portal itself was away: then nobody else is called lost for it (rule 30).

Unlike the ages of `sites/ticks.py` these times decide. They are the database's, and lie in a table
that outlives caches and processes. Of a clock that was set back nothing here waits for long.
"""

from __future__ import annotations

from . import sql
from .sql import Sql

# Whether agents are answered, and whether what is lost is looked for.
SERVING, SWEEPING = "serving", "sweeping"
# Noted less often than this, it was interrupted.
GAP_S = 30
# Agents come back within this time: two heartbeats, and the longest pause between two tries.
EXCUSED_FOR_S = 75


def note(name: str) -> None:
    """Note that this goes on, and after a gap that it does so again.

    One statement, which any number of processes may run at once. Call outside of transactions: on
    PostgreSQL its commit does not wait for the disk. A note that a crash loses only makes the gap
    longer that the crash is anyway.
    """
    unwaited = "SET_CONFIG('synchronous_commit', 'off', TRUE) = 'off'"
    sql.rows(
        Sql(
            "INSERT INTO sites_pulse AS pulse (name, noted_at)"
            f" SELECT CAST(%s AS VARCHAR(20)), {sql.now()}"
            f" WHERE {unwaited if sql.on_postgresql() else 'TRUE'}"
            " ON CONFLICT (name) DO UPDATE SET noted_at = excluded.noted_at, resumed_at ="
            f" CASE WHEN pulse.noted_at < {sql.later(str(-GAP_S))}"
            " THEN excluded.noted_at ELSE pulse.resumed_at END",
            (name,),
        )
    )


def was_away() -> str:
    """The SQL condition that the portal is away, or has been back for less than 75 s.

    Whoever asks may be the first after a gap: its end is noted some seconds later. A time in the
    future is that of a clock which was set back since, and excuses nothing; a little of it is
    that of another statement, which began later and was quicker.
    """
    gap, ahead = sql.later(str(-GAP_S)), sql.later(str(GAP_S))
    excused = f"pulse.resumed_at BETWEEN {sql.later(str(-EXCUSED_FOR_S))} AND {ahead}"
    return (
        f"EXISTS (SELECT 1 FROM sites_pulse AS pulse WHERE pulse.name IN ('{SERVING}',"
        f" '{SWEEPING}') AND (pulse.noted_at < {gap} OR {excused}))"
    )


def is_excused() -> bool:
    """Say whether `was_away` holds now: then whoever is silent may not have been heard."""
    return bool(sql.rows(Sql(f"SELECT 1 WHERE {was_away()}")))


def is_news(name: str, *, for_s: int) -> bool:
    """Say whether this was not news within so many seconds, and note that it is now.

    Of any number who ask at once one is told yes; it writes what there is to tell in the same
    transaction, until whose end the others wait.
    """
    told = f"BETWEEN {sql.later(str(-for_s))} AND {sql.later(str(GAP_S))}"
    return bool(
        sql.rows(
            Sql(
                "INSERT INTO sites_pulse AS pulse (name, noted_at)"
                f" SELECT CAST(%s AS VARCHAR(20)), {sql.now()} WHERE TRUE"
                " ON CONFLICT (name) DO UPDATE SET noted_at = excluded.noted_at"
                f" WHERE pulse.noted_at NOT {told} RETURNING 1",
                (name,),
            )
        )
    )
